"""Layouts of the files behind ``adapters_shaping``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golden.harness import Record
from golden.layouts import covariance_files


def before_and_after(data: Mapping[str, Any]) -> Record:
    """README_cited.md. Advantages come in and go out under one name: what comes in is ``before``."""
    record = covariance_files(data)
    record.inputs["before"] = record.inputs.pop("advantages")
    return record
