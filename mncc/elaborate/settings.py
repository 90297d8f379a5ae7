"""The values of a network's parameters: what the file says, and what `--set` changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mncc.elaborate import errors
from mncc.elaborate.primitives import ACTIVATIONS, MODES, Defaults

Setting = int | float | str
GENERAL = ("batch", "padding", "epsilon", "activation")
"""Settings of every network: the batch, and what its `defaults` line says."""
WORDS = ("padding", "activation")
"""Those of them that are words."""
MAX_BATCH = 65_536


def parse_setting(text: object) -> Setting:
    """A setting as a number where it is one; Python numbers and other texts stay what they are."""
    if isinstance(text, bool):
        return "true" if text else "false"
    if isinstance(text, int | float):
        return text
    word = str(text).strip()
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def check_parameter(name: str, value: Setting, default: object) -> Setting | errors.BadSetting:
    """The value in the kind of the parameter's default, or what is wrong with it."""
    if isinstance(value, float) and not math.isfinite(value):
        return errors.BadSetting(name, str(value), "a finite number")
    if isinstance(default, bool):
        truths = {"true": True, "false": False, 1: True, 0: False}
        word = value.lower() if isinstance(value, str) else value
        return truths[word] if word in truths else errors.BadSetting(name, str(value), "true or false")
    if isinstance(default, int):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int):
            return errors.BadSetting(name, str(value), "a whole number")
        if value < 0 or value > 2**31 - 1 or (value == 0 and default > 0):
            return errors.BadSetting(name, str(value), "a whole number of at least 1")
        return value
    if isinstance(default, float):
        if isinstance(value, str):
            return errors.BadSetting(name, value, "a number")
        if default > 0 and not 0 < value < 2**31:
            return errors.BadSetting(name, f"{value:g}", "a number larger than 0")
        return float(value)
    if isinstance(default, str) and not isinstance(value, str):
        return errors.BadSetting(name, str(value), "a word")
    return value


def check_batch(value: Setting) -> Setting | errors.BadSetting:
    """The batch, 1 or more."""
    checked = check_parameter("batch", value, 1)
    if isinstance(checked, int) and checked > MAX_BATCH:
        return errors.BadSetting("batch", str(value), f"a whole number from 1 to {MAX_BATCH:,}")
    return checked


def check_default(name: str, value: object) -> Setting | errors.BadSetting:
    """A value of the `defaults` line, or what is wrong with it."""
    if name == "padding":
        known = isinstance(value, str) and value in MODES
        return str(value) if known else errors.BadSetting(name, str(value), f"one of {', '.join(MODES)}")
    if name == "activation":
        known = isinstance(value, str) and value.lower() in ACTIVATIONS
        if known:
            return ACTIVATIONS[str(value).lower()]
        return errors.BadSetting(name, str(value), f"one of {', '.join(dict.fromkeys(ACTIVATIONS.values()))}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        return errors.BadSetting(name, str(value), "a number from 0 to 1, such as 1e-5")
    return float(value)


def make_defaults(values: Mapping[str, Setting]) -> Defaults:
    """The `defaults` line from checked values."""
    base = Defaults()
    return Defaults(
        str(values.get("padding", base.padding)),
        float(values.get("epsilon", base.epsilon)),
        str(values.get("activation", base.activation)),
    )
