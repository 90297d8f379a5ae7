"""A stand-in for the module `tensorrt`: of what its Python bindings 11.4 publish the part that bench.cuda asks for,
with their names, arguments and types, and nothing else. onnxruntime computes, in host functions of the stand-in driver.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import onnx
import onnxruntime

CAPTURING = 1
"""CU_STREAM_CAPTURE_STATUS_ACTIVE."""


def _is(value: object, kind: type | tuple[type, ...]) -> Any:
    """The value; TypeError, as the bindings have it, where it is of another type."""
    if not isinstance(value, kind):
        raise TypeError(f"incompatible function arguments: {type(value).__name__} instead of {kind}")
    return value


class NetworkDefinitionCreationFlag(Enum):
    STRONGLY_TYPED = 1
    PREFER_JIT_PYTHON_PLUGINS = 2
    PREFER_AOT_PYTHON_PLUGINS = 3

    def __int__(self) -> int:
        return int(self.value)


class BuilderFlag(Enum):
    TF32 = 7


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class DataType(Enum):
    FLOAT, HALF = range(2)


class _Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = _Severity
    Severity = _Severity

    def __init__(self, min_severity: _Severity = _Severity.WARNING) -> None:
        _is(min_severity, _Severity)


class Dims(Sequence):
    def __init__(self, shape: Sequence[int] = ()) -> None:
        self._shape = tuple(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, index: Any) -> Any:
        return self._shape[index]


class ITensor:
    def __init__(self, declared: onnx.ValueInfoProto) -> None:
        self.name = declared.name
        self.shape = Dims([dimension.dim_value for dimension in declared.type.tensor_type.shape.dim])


class INetworkDefinition:
    def __init__(self) -> None:
        self._model: onnx.ModelProto | None = None

    def _declared(self, kind: str) -> Sequence[onnx.ValueInfoProto]:
        return getattr(self._model.graph, kind) if self._model else ()

    @property
    def num_inputs(self) -> int:
        return len(self._declared("input"))

    @property
    def num_outputs(self) -> int:
        return len(self._declared("output"))

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._declared("input")[index])

    def get_output(self, index: int) -> ITensor:
        return ITensor(self._declared("output")[index])


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
        self._network = _is(network, INetworkDefinition)
        self._errors: list[ParserError] = []
        _is(logger, Logger)

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            self._network._model = onnx.load_model_from_string(_is(model, bytes))
            onnx.checker.check_model(self._network._model)
        except Exception as error:
            self._errors.append(ParserError(f"In node -1: MODEL_DESERIALIZE_FAILED: {error}"))
            return False
        return True


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(_is(flag, BuilderFlag))


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class Builder:
    def __init__(self, logger: Logger) -> None:
        _is(logger, Logger)

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        known = sum(1 << int(flag) for flag in NetworkDefinitionCreationFlag)
        if _is(flags, int) & ~known:
            raise RuntimeError("flags that this version has not")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        _is(network, INetworkDefinition), _is(config, IBuilderConfig)
        # With TF32 the numbers would be other ones.
        if network._model is None or config._flags:
            return None
        return IHostMemory(network._model.SerializeToString())


class Runtime:
    def __init__(self, logger: Logger) -> None:
        _is(logger, Logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        return ICudaEngine(_is(serialized_engine, bytes))


class ICudaEngine:
    """Its tensors are in no order that anybody promised: here outputs come first, and the last of each."""

    def __init__(self, model: bytes) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs()[::-1], self._session.get_outputs()[::-1]
        self._tensors = {tensor.name: tensor for tensor in (*outputs, *inputs)}
        self._inputs = {tensor.name for tensor in inputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if _is(name, str) in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensors[_is(name, str)].shape)

    def get_tensor_dtype(self, name: str) -> DataType:
        assert self._tensors[_is(name, str)].type == "tensor(float)"
        return DataType.FLOAT

    def create_execution_context(self) -> IExecutionContext | None:
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._addresses: dict[str, int] = {}
        self._work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._compute)
        self._ran = False

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._ran = False
        self._addresses[_is(name, str)] = _is(memory, int)
        return name in self.engine._tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Has to run once before it is captured, as the developer guide asks. Until somebody waits there is nothing in
        the outputs, and what was captured computes only when it is replayed."""
        if set(self._addresses) != set(self.engine._tensors):
            return False
        stream, status, spare = ctypes.c_void_p(_is(stream_handle, int)), ctypes.c_int(), ctypes.c_void_p()
        places = [ctypes.byref(place) for place in (status, ctypes.c_uint64(), spare, ctypes.c_void_p(), spare)]
        if self._driver.cuStreamGetCaptureInfo_v2(stream, *places) or (status.value == CAPTURING and not self._ran):
            return False
        for name in self.engine._tensors:
            if name not in self.engine._inputs:
                self._array(name)[...] = np.nan
        self._ran = True
        return not self._driver.cuLaunchHostFunc(stream, self._work, None)

    def _array(self, name: str) -> np.ndarray:
        shape = self.engine._tensors[name].shape
        memory = (ctypes.c_float * int(np.prod(shape))).from_address(self._addresses[name])
        return np.frombuffer(memory, np.float32).reshape(shape)

    def _compute(self, _: object) -> None:
        outputs = [tensor.name for tensor in self.engine._session.get_outputs()]
        feed = {name: self._array(name) for name in self.engine._inputs}
        for name, made in zip(outputs, self.engine._session.run(outputs, feed), strict=True):
            self._array(name)[...] = made
