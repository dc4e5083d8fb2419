"""Compares `eyas features` with transformers on random tiny Llama, Qwen2, Qwen3 and Qwen3-MoE checkpoints of the given seeds.

Every seed gives other sizes, biases, rope scalings (llama3, yarn, linear), tied or untied heads, experts and sparse layers.

    python scripts/parity/text_llm.py 101 102 103

Needs torch and transformers 5.18 (and what common.py imports); run `npm run bootstrap` first.
"""

import random
import tempfile
from pathlib import Path

import torch
from common import ANSWER, TINY, compare, error, features, main, run_decoder
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config, Qwen3Config, Qwen3MoeConfig

TALKS = {
    "short": [{"role": "user", "content": "Count from two to nine."}, ANSWER],
    "turns": [{"role": "user", "content": "Where is the red circle?"}, ANSWER, {"role": "user", "content": "And then?"}, ANSWER],
}
ROPES = [
    dict(rope_type="default", rope_theta=1e4),
    dict(rope_type="linear", rope_theta=1e4, factor=2.0),
    dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=128),
    dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
         original_max_position_embeddings=64),
]


def config_of(kind, rng, tokenizer):
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    common = dict(vocab_size=len(tokenizer) + rng.choice([0, 13]), intermediate_size=rng.choice([64, 88]),
                  hidden_size=heads * dim if kind is Qwen2Config else rng.choice([heads * dim, 48]),
                  num_hidden_layers=rng.choice([7, 8, 9]), num_attention_heads=heads, num_key_value_heads=kv,
                  max_position_embeddings=512, rope_parameters=rng.choice(ROPES), tie_word_embeddings=rng.random() < 0.5,
                  eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"), bos_token_id=None, pad_token_id=None,
                  initializer_range=0.2)
    if kind is not Qwen2Config:
        common |= dict(head_dim=dim, attention_bias=rng.random() < 0.5)
    if kind is LlamaConfig:
        common |= dict(mlp_bias=rng.random() < 0.5)
    if kind is Qwen3MoeConfig:
        common |= dict(num_experts=rng.choice([4, 6]), num_experts_per_tok=rng.choice([1, 2, 3]),
                       moe_intermediate_size=rng.choice([16, 24]), norm_topk_prob=rng.random() < 0.5,
                       decoder_sparse_step=rng.choice([1, 2]), mlp_only_layers=rng.choice([[], [1]]))
    return kind(**common)


def check(seed):
    for number, kind in enumerate([LlamaConfig, Qwen2Config, Qwen3Config, Qwen3MoeConfig]):
        torch.manual_seed(seed)
        rng = random.Random(4 * seed + number)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tokenizer = AutoTokenizer.from_pretrained(TINY)
            model = AutoModelForCausalLM.from_config(config_of(kind, rng, tokenizer)).eval()
            with torch.no_grad():
                for key, weight in model.named_parameters():
                    if weight.ndim == 1:
                        weight.normal_(1.0 if "norm" in key else 0.0, 0.2)
            model.save_pretrained(folder / "model")
            tokenizer.save_pretrained(folder / "model")
            (folder / "model" / "chat_template.jinja").write_text((TINY / "chat_template.jinja").read_text())
            got = features(folder / "model", TALKS, folder, "--logits")
            worst = 0.0
            for key, talk in TALKS.items():
                ids = torch.tensor(tokenizer.apply_chat_template(talk, tokenize=True, return_dict=False))
                out, positions, states = run_decoder(model.model, lambda: model.model(input_ids=ids[None]))
                last = out.last_hidden_state[0]
                worst = max(worst, compare(got[key], ids, positions, states, last),
                            error(got[key]["logits"], model.lm_head(last).detach()))
            assert worst < 1e-4, (seed, kind.model_type, worst)
            print(f"seed {seed} {kind.model_type}: ids and positions equal, hidden states and logits within {worst:.1e}", flush=True)


if __name__ == "__main__":
    main(check)
