"""Train with dictionary_learning's TopKTrainer; runs in that library's environment."""

from dictionary_learning.trainers.top_k import TopKTrainer

from benchmarks.peers.driver import dead_after, drive


def make(task, d_in):
    steps = task["steps"]
    trainer = TopKTrainer(
        steps=steps,
        activation_dim=d_in,
        dict_size=task["d_sae"],
        k=task["k"],
        layer=0,
        lm_name="none",
        lr=task["lr"],
        warmup_steps=max(1, steps // 20),
        decay_start=max(1 + steps // 20, steps * 7 // 10),
        threshold_start_step=steps // 2,
        seed=task["seed"],
        device="cpu",
    )
    trainer.dead_feature_threshold = dead_after(task)
    counter = iter(range(steps))
    return lambda x: trainer.update(next(counter), x), lambda: trainer.ae.decoder.weight.T


drive(make)
