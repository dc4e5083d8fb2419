"""The draft and the training-time test of a checkout of SpecForge, on the CPU.

Two things keep its classes from a CPU: Triton, which is replaced by an empty module, and the Triton kernel of the loss, for
which SpecForge's own reference formula stands in. torch.compile is off, as without a GPU.
"""

import os
import sys
import types
from unittest.mock import MagicMock

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch


def without_triton():
    try:
        import triton  # noqa: F401
    except ImportError:
        triton, language = types.ModuleType("triton"), types.ModuleType("triton.language")
        triton.jit = lambda function=None, **_: function or (lambda inner: inner)
        triton.next_power_of_2 = lambda n: 1 << (n - 1).bit_length()
        language.__getattr__ = lambda name: MagicMock() if not name.startswith("__") else None
        triton.language = language
        sys.modules.update({"triton": triton, "triton.language": language})


class PlainLoss:
    """The mean over all rows of the masked soft cross-entropy."""

    @staticmethod
    def apply(logits, target_p, position_mask):
        return -(position_mask * target_p * logits.float().log_softmax(2)).sum(2).mean()


class SpecForgeStep:
    def __init__(self, checkout, weights, shape, batch):
        # transformers looks for Triton itself, and must not find the empty one.
        from transformers import LlamaConfig, LlamaPreTrainedModel  # noqa: F401
        without_triton()
        sys.path.insert(0, checkout)
        try:
            from specforge.algorithms.eagle3 import model as eagle3
        except ModuleNotFoundError:
            from specforge.core import eagle3  # before the algorithms had packages of their own
        from specforge.modeling.draft.llama3_eagle import LlamaForCausalLMEagle3

        eagle3.LogSoftmaxLoss = PlainLoss
        config = LlamaConfig(
            hidden_size=shape["hidden"], intermediate_size=shape["intermediate"], num_attention_heads=shape["heads"],
            num_key_value_heads=shape["kv_heads"], vocab_size=shape["vocab"], num_hidden_layers=1, rms_norm_eps=1e-6,
            max_position_embeddings=32768, pad_token_id=0, rope_theta=1e6, hidden_act="silu")
        config.draft_vocab_size = shape["draft_vocab"]
        config.rope_theta, config.rope_scaling, config.pretraining_tp = 1e6, None, 1
        self.draft = LlamaForCausalLMEagle3(config, attention_backend="sdpa").to(batch["features"].dtype)
        state = {**weights, "embed_tokens.weight": batch["embed"]}
        missing, unexpected = self.draft.load_state_dict(state, strict=False)
        if unexpected or any(name.endswith("weight") for name in missing):
            raise ValueError(f"SpecForge's draft: expected its weights, {missing} are missing, {unexpected} are not its own")
        self.draft.embed_tokens.weight.requires_grad_(False)
        ids = batch["draft_ids"]
        self.draft.t2d.zero_()[ids] = True
        self.draft.d2t.copy_(ids - torch.arange(len(ids)))
        self.model = eagle3.OnlineEagle3Model(self.draft, length=shape["steps"], attention_backend="sdpa")
        self.batch = batch

    def parameters(self):
        return self.draft.parameters()

    def losses(self, decay):
        shifted = lambda x: torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], 1)
        batch = self.batch
        with torch.no_grad():
            target = shifted(torch.nn.functional.linear(batch["last"], batch["target_head"]))
        losses = self.model(
            input_ids=shifted(batch["ids"]), attention_mask=None, target=target, loss_mask=batch["assistant"].long()[..., None],
            hidden_states=batch["features"])[0]
        return losses, sum(decay ** s * loss for s, loss in enumerate(losses))
