"""Inference: a micrograph of any size to heat map, offsets, restored image and crystal probability."""

from atomseg.infer.predict import InferConfig, infer

__all__ = ["InferConfig", "infer"]
