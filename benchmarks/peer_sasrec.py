"""RecTools' SASRec as a peer: trained until it no longer predicts the last liked play of some users better.

Runs in the environment of `make peers`, as peer_models.py does; PyTorch is imported only for this peer.
"""

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

FACTORS, EPOCHS, PATIENCE = 64, 100, 5
# A feed's users have a few plays each.
_LONGEST, _LONGEST_OF_FEED = 100, 16
_VALIDATION_SHARE = 0.2


class StoppedSASRec(SASRecModel):
    """SASRec with the weights of its best epoch."""

    def fit(self, dataset: Dataset, *args: object, **kwargs: object) -> "StoppedSASRec":
        """Train on one thread, then take the best epoch's weights."""
        torch.set_num_threads(1)
        seed_everything(0)
        super().fit(dataset, *args, **kwargs)
        stopped, best = self.fit_trainer.callbacks[0], self.fit_trainer.checkpoint_callback
        self.load_weights_from_checkpoint(best.best_model_path)
        print(f"  SASRec: {self.fit_trainer.current_epoch} epochs, validation loss {stopped.best_score:.4f}")
        return self


def last_liked_of_some(interactions: pd.DataFrame) -> np.ndarray:
    """Which rows are the last liked play of a drawn user: bool [rows]."""
    users = interactions[Columns.User].unique()
    drawn = np.random.default_rng(0).choice(users, int(len(users) * _VALIDATION_SHARE), replace=False)
    order = interactions.sort_values(Columns.Datetime, kind="stable")
    last = order.drop_duplicates(Columns.User, keep="last").index
    found: np.ndarray = (interactions.index.isin(last) & interactions[Columns.User].isin(drawn)).to_numpy()
    return found


def trainer() -> Trainer:
    """On the CPU, until the validation loss has not fallen for some epochs."""
    folder = Path(tempfile.mkdtemp(prefix="sasrec-"))
    return Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        deterministic=True,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            EarlyStopping("val_loss", patience=PATIENCE),
            ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True),
        ],
    )


def stopped_sasrec(*, by_day: bool, factors: int = FACTORS) -> SASRecModel:
    """RecTools' defaults but for the size (256 there), the epochs, and shorter histories of a feed."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    return StoppedSASRec(
        n_factors=factors,
        session_max_len=_LONGEST_OF_FEED if by_day else _LONGEST,
        get_val_mask_func=last_liked_of_some,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
