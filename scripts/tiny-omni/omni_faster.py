"""The library's sums in forms that a CPU does faster; for the training process only."""

import siblings  # noqa: F401
import torch
import torch.nn.functional as F
from blueprint import PATCH
from scenes import PIXELS
from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as modeling

PATCHES = (PIXELS // PATCH) ** 2
BALANCE = []  # what every mixture layer of the last forward pass says about the balance of its experts


def batched_vision_attention(self, hidden_states, cu_seqlens, position_embeddings=None, **_):
    """One call for equally sized pictures where the library loops over them."""
    n = hidden_states.shape[0] // PATCHES
    q, k, v = self.qkv(hidden_states).view(-1, 3, self.num_heads, self.head_dim).unbind(1)
    q, k = modeling.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
    q, k, v = (x.view(n, PATCHES, self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v))
    out = torch.softmax(q @ k.transpose(-1, -2) * self.scaling, -1) @ v
    return self.proj(out.transpose(1, 2).reshape(-1, self.dim))


def masked_audio_attention(self, hidden_states, cu_seqlens, **_):
    """One call over padded windows where the library loops over them."""
    n, starts = hidden_states.shape[0], cu_seqlens[:-1].long()
    window = torch.searchsorted(cu_seqlens.long(), torch.arange(n), right=True) - 1
    slot = torch.arange(n) - starts[window]
    shape = (len(starts), int(slot.max()) + 1, self.num_heads, self.head_dim)
    q, k, v = (
        x.new_zeros(*shape).index_put((window, slot), x.view(n, self.num_heads, self.head_dim)).transpose(1, 2)
        for x in (self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states))
    )
    lengths = cu_seqlens.diff()
    hide = torch.zeros(shape[:2], dtype=q.dtype).masked_fill(torch.arange(shape[1]) >= lengths[:, None], -1e9)
    out = torch.softmax(q @ k.transpose(-1, -2) * self.scaling + hide[:, None, None], -1) @ v
    return self.out_proj(out.transpose(1, 2)[window, slot].reshape(n, -1))


def linear_patch_embed(self, hidden_states):
    """The patch convolution covers each patch once, so it is one matrix product."""
    weight = self.proj.weight
    return F.linear(hidden_states.to(weight.dtype), weight.flatten(1), self.proj.bias)


def fused_rms_norm(self, hidden_states):
    return F.rms_norm(hidden_states, hidden_states.shape[-1:], self.weight, self.variance_epsilon)


def dense_mixture(self, hidden_states):
    """All experts as one wide MLP whose columns the routing weighs: with few small experts faster than gathering."""
    x = hidden_states.flatten(0, -2)
    logits, scores, chosen = self.gate(x)
    weights = torch.zeros(logits.shape, dtype=x.dtype).scatter(1, chosen, scores)
    experts, up, down = len(weights[0]), self.experts.gate_up_proj, self.experts.down_proj
    gate, value = F.linear(x, up.flatten(0, 1)).view(len(x), experts, 2, -1).unbind(2)
    inner = F.silu(gate) * value * weights[..., None]
    used = (weights > 0).float().mean(0)
    BALANCE.append(experts * (used * logits.float().softmax(-1).mean(0)).sum())
    return (inner.flatten(1) @ down.permute(0, 2, 1).flatten(0, 1)).view_as(hidden_states)


def use_faster_sums():
    modeling.Qwen3OmniMoeThinkerTextRMSNorm.forward = fused_rms_norm
    modeling.Qwen3OmniMoeTextRMSNorm.forward = fused_rms_norm
    modeling.Qwen3OmniMoeThinkerTextSparseMoeBlock.forward = dense_mixture
    modeling.Qwen3OmniMoeVisionAttention.forward = batched_vision_attention
    modeling.Qwen3OmniMoeVisionPatchEmbed.forward = linear_patch_embed
    modeling.Qwen3OmniMoeAudioAttention.forward = masked_audio_attention
