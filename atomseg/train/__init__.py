"""Training: scenes simulated on the fly, one Lightning module, releases."""

from atomseg.train.checkpoint import last_checkpoint
from atomseg.train.config import TrainConfig
from atomseg.train.losses import LossConfig
from atomseg.train.release import release
from atomseg.train.run import is_first_process, train
from atomseg.train.targets import TargetConfig

__all__ = ["LossConfig", "TargetConfig", "TrainConfig", "is_first_process", "last_checkpoint", "release", "train"]
