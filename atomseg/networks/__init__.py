"""Networks and the registry of released models."""

from atomseg.networks.unet import HEADS, Outputs, UNet, UNetConfig

__all__ = ["HEADS", "Outputs", "UNet", "UNetConfig"]
