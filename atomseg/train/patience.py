"""The early end of a training, and the weights that it is ended for."""

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping


class Patience(EarlyStopping):  # type: ignore[misc]
    """Ends a training whose F1 no longer rises, and keeps the averaged weights of its best validation.

    They travel in every checkpoint beside the last ones, which a resumed run needs.

    Parameters
    ----------
    validations : int
        Validations without a better F1 after which the training ends.
    last : pathlib.Path
        Checkpoint that the run resumes from.
    """

    def __init__(self, validations: int, last: Path) -> None:
        super().__init__("val/f1", mode="max", patience=validations, check_finite=True)
        self._last = last
        self._best: dict[str, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, _module: Any) -> None:
        """Leave a resumed run as it is that had ended, unless it may wait longer now."""
        trainer.should_stop = self.wait_count >= self.patience

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Count, and keep the weights where they are the best so far."""
        before = float(self.best_score)
        super().on_validation_end(trainer, module)
        if float(self.best_score) > before:
            weights = {name: value.detach().cpu().clone() for name, value in module.average.state_dict().items()}
            self._best = {"step": trainer.global_step, "f1": float(self.best_score), "weights": weights}
        # The checkpoint of this step was written before its validation, which a resumed run would then never count.
        trainer.save_checkpoint(self._last)

    def on_save_checkpoint(self, _trainer: Any, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the best weights where `released_weights` finds them."""
        if self._best:
            checkpoint["atomseg_best"] = self._best

    def on_load_checkpoint(self, _trainer: Any, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Go on with the best weights of the run before."""
        self._best = checkpoint.get("atomseg_best", {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting; how long to wait is what the settings say now."""
        super().load_state_dict({**state_dict, "patience": self.patience})
