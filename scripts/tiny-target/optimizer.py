"""Muon for the matrices of the blocks and AdamW for the rest, for bfloat16 weights."""

from collections import defaultdict

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(g):
    """[n, rows, columns], rows <= columns -> nearly the nearest matrices with equal singular values."""
    a, b, c = NEWTON_SCHULZ
    x = (g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.float()


def layers(weight):
    """[rows, columns] or [n, rows, columns] -> [1 or n, rows, columns]."""
    return weight.reshape(-1, *weight.shape[-2:])


class Optimizer:
    """Steps float32 copies of bfloat16 weights.

    `matrices` take Muon steps (Nesterov momentum, orthogonalised, scaled to the size of an AdamW step), equal shapes
    together; a weight with a leading axis of experts is as many matrices. `others` take AdamW steps.
    """

    def __init__(self, matrices, others, momentum=0.95, decay=0.01):
        self.momentum, self.decay = momentum, decay
        self.others = Masters(others)
        self.adam = torch.optim.AdamW(self.others.copies, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        by_shape = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        self.stacks = [Masters(group) for group in by_shape.values()]
        self.buffers = [torch.cat([layers(c) * 0 for c in s.copies]) for s in self.stacks]

    def step(self, rate, clip=1.0):
        masters = [self.others, *self.stacks]
        for group in masters:
            group.take_gradients()
        torch.nn.utils.clip_grad_norm_([c for group in masters for c in group.copies], clip)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        for stack, buffer in zip(self.stacks, self.buffers):
            gradient = torch.cat([layers(c.grad) for c in stack.copies])
            buffer.lerp_(gradient, 1 - self.momentum)
            update = gradient.lerp(buffer, self.momentum)
            tall = update.shape[1] > update.shape[2]
            update = orthogonal(update.mT if tall else update)
            update = (update.mT if tall else update) * 0.2 * max(update.shape[1:]) ** 0.5
            for copy, change in zip(stack.copies, update.chunk(len(stack.copies))):
                copy.mul_(1 - rate * self.decay).add_(change.view_as(copy), alpha=-rate)
        for group in masters:
            group.give_weights()


class Masters:
    """Float32 copies of bfloat16 weights."""

    def __init__(self, weights):
        self.weights = list(weights)
        self.copies = [w.detach().float().clone() for w in self.weights]

    def take_gradients(self):
        for weight, copy in zip(self.weights, self.copies):
            copy.grad = torch.zeros_like(copy) if weight.grad is None else weight.grad.float()
            weight.grad = None

    def give_weights(self):
        for weight, copy in zip(self.weights, self.copies):
            weight.data.copy_(copy)
