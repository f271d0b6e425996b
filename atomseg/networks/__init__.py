"""Networks and the registry of released models."""

from atomseg.networks.card import ModelCard, SigmaMap, TrainingRecord, build_record, map_sigma, read_card, write_card
from atomseg.networks.registry import (
    DEFAULT_MODEL,
    Model,
    check_golden,
    choose_device,
    find_model,
    golden_outputs,
    list_models,
    load_model,
    model_folders,
)
from atomseg.networks.unet import BASIC_HEADS, HEADS, Outputs, UNet, UNetConfig

__all__ = [
    "BASIC_HEADS",
    "DEFAULT_MODEL",
    "HEADS",
    "Model",
    "ModelCard",
    "Outputs",
    "SigmaMap",
    "TrainingRecord",
    "UNet",
    "UNetConfig",
    "build_record",
    "check_golden",
    "choose_device",
    "find_model",
    "golden_outputs",
    "list_models",
    "load_model",
    "map_sigma",
    "model_folders",
    "read_card",
    "write_card",
]
