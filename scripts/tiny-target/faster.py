"""The library's sums in forms that a CPU does faster, for equally sized pictures; for the training process only."""

import torch
import torch.nn.functional as F
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as modeling

from blueprint import PATCH
from scenes import PIXELS

PATCHES = (PIXELS // PATCH) ** 2


def batched_vision_attention(self, hidden_states, cu_seqlens, position_embeddings=None, **_):
    """One call with a block mask where the library loops over windows."""
    n = hidden_states.shape[0] // PATCHES
    q, k, v = self.qkv(hidden_states).view(-1, 3, self.num_heads, self.head_dim).unbind(1)
    q, k = modeling.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.view(n, PATCHES, self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v))
    block = torch.searchsorted(cu_seqlens.to(torch.int64), torch.arange(PATCHES), right=True)
    hide = torch.zeros(PATCHES, PATCHES, dtype=q.dtype).masked_fill(block[:, None] != block[None, :], -1e9)
    out = torch.softmax(q @ k.transpose(-1, -2) * self.scaling + hide, -1) @ v
    return self.proj(out.transpose(1, 2).reshape(-1, self.dim))


def linear_patch_embed(self, hidden_states):
    """The patch convolution covers each patch once, so it is one matrix product."""
    weight = self.proj.weight
    return F.linear(hidden_states.to(weight.dtype), weight.flatten(1))


def fused_rms_norm(self, hidden_states):
    return F.rms_norm(hidden_states, hidden_states.shape[-1:], self.weight, self.variance_epsilon)


def use_faster_sums():
    modeling.Qwen2_5_VLRMSNorm.forward = fused_rms_norm
    modeling.Qwen2_5_VLVisionAttention.forward = batched_vision_attention
    modeling.Qwen2_5_VisionPatchEmbed.forward = linear_patch_embed
