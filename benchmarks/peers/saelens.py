"""Train with SAELens' trainer, standard or topk; runs in SAELens' environment."""

import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from benchmarks.peers.driver import dead_after, drive


def make(task, d_in):
    sizes = {"d_in": d_in, "d_sae": task["d_sae"], "dtype": "float32", "device": "cpu"}
    if task["kind"] == "standard":
        sae = StandardTrainingSAE(StandardTrainingSAEConfig(**sizes, l1_coefficient=1.0))
    else:
        sae = TopKTrainingSAE(TopKTrainingSAEConfig(**sizes, k=task["k"]))
    config = SAETrainerConfig(
        total_training_samples=task["steps"] * task["batch_size"],
        train_batch_size_samples=task["batch_size"],
        lr=task["lr"],
        lr_end=task["lr"] / 10,
        lr_warm_up_steps=task["steps"] // 20,
        lr_decay_steps=task["steps"] * 3 // 10,
        dead_feature_window=max(1, dead_after(task) // task["batch_size"]),
        logger=LoggingConfig(log_to_wandb=False),
    )
    trainer = SAETrainer(config, sae, data_provider=iter(()))

    def step(x):
        if trainer.n_training_steps == 0:
            with torch.no_grad():
                sae.b_dec.copy_(x.mean(0))
        trainer.step(x)
        trainer.n_training_steps += 1

    return step, lambda: sae.W_dec


drive(make)
