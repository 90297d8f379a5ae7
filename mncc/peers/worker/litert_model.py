"""A .tflite from what mncc.peers.litert_export wrote, with the tables of the file format that LiteRT itself ships."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import numpy as np

_VERSION, _IDENTIFIER = 3, b"TFL3"
_LARGEST_OLD_CODE = 127
"""Codes of operators once had a byte; the old field goes on saying that they do not fit."""


def build(path: str) -> bytes:
    """The file's bytes; `path` is the .npz."""
    schema, flatbuffers = import_module("ai_edge_litert.schema_py_generated"), import_module("flatbuffers")
    with np.load(path) as content:
        program = json.loads(content["program"].tobytes())
        constants = {name: content[name] for name in content.files if name != "program"}
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.subgraphs = _VERSION, "made by mncc", [graph]
    model.buffers = [schema.BufferT()]  # the first one is empty, for tensors without data
    graph.inputs, graph.outputs = program["inputs"], program["outputs"]
    graph.tensors = [
        _tensor(schema, model, declared, constants.get(str(number)))
        for number, declared in enumerate(program["tensors"])
    ]
    words = sorted({operator["op"] for operator in program["operators"]})
    model.operatorCodes = [_code(schema, word) for word in words]
    graph.operators = [_operator(schema, words.index(each["op"]), each) for each in program["operators"]]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(schema: Any, model: Any, declared: dict[str, Any], data: np.ndarray | None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = declared["name"], declared["shape"]
    tensor.type = getattr(schema.TensorType, declared["type"])
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    return tensor


def _code(schema: Any, word: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, word)
    code.deprecatedBuiltinCode = min(code.builtinCode, _LARGEST_OLD_CODE)
    return code


def _operator(schema: Any, code: int, declared: dict[str, Any]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, declared["inputs"], [declared["output"]]
    if declared["options"]:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, declared["options"])
        operator.builtinOptions = getattr(schema, declared["options"] + "T")()
        for name, value in declared["fields"].items():
            setattr(operator.builtinOptions, name, value)
    return operator
