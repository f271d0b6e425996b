"""How far a training is, in steps, and how long the rest takes."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class StepProgress(TQDMProgressBar):  # type: ignore[misc]
    """Counts the steps of the whole training: scenes are never used up, so that there is one epoch without an end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count, where a resumed run goes on."""
        super().on_train_start(trainer, pl_module)
        bar = self.train_progress_bar
        bar.set_description("Training")
        bar.total, bar.unit = trainer.max_steps, "step"
        bar.initial = bar.n = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, *others: Any) -> None:
        """An epoch is no new beginning."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *others: Any) -> None:
        """Count a step; the last of `others` is the number of the batch in this run."""
        super().on_train_batch_end(trainer, pl_module, *others[:-1], trainer.global_step - 1)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar: all but the name of the log's folder."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
