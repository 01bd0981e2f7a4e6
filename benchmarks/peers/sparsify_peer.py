"""Train sparsify's SparseCoder like its Trainer, which only works inside a language model.

The task's ``optimizer`` is "signum", the library's default, or "adam".
"""

import torch
from schedulefree import ScheduleFreeWrapper
from sparsify.config import SparseCoderConfig
from sparsify.sign_sgd import SignSGD
from sparsify.sparse_coder import SparseCoder
from transformers import get_linear_schedule_with_warmup

from benchmarks.peers.driver import dead_after, drive

AUXK_ALPHA = 1 / 32


def make(task, d_in):
    coder = SparseCoder(d_in, SparseCoderConfig(num_latents=task["d_sae"], k=task["k"]), dtype=torch.float32)
    if task["optimizer"] == "adam":
        optimizer = torch.optim.Adam(coder.parameters(), lr=task["lr"])
        schedule = get_linear_schedule_with_warmup(optimizer, task["steps"] // 20, task["steps"])
    else:
        optimizer, schedule = ScheduleFreeWrapper(SignSGD(coder.parameters(), lr=task["lr"]), momentum=0.95), None
        optimizer.train()
    silent = torch.zeros(task["d_sae"], dtype=torch.long)
    begun = []

    def step(x):
        if not begun:
            begun.append(True)
            coder.b_dec.data = x.mean(0)
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, dead_mask=silent > dead_after(task))
        (out.fvu + AUXK_ALPHA * out.auxk_loss).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        if schedule:
            schedule.step()
        silent.add_(len(x))
        silent[out.latent_indices.flatten()] = 0

    def decoder():
        if schedule is None:
            optimizer.eval()  # switch to the averaged weights of the schedule-free optimizer
        return coder.W_dec

    return step, decoder


drive(make)
