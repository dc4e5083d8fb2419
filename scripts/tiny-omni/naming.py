"""The towers first: every picture token and every audio token learns to name what it covers, in the decoder's words.

The classes of a question are word embeddings (" red", " noise", ...), which the output layer shares: afterwards a token
of either tower looks to the decoder like the sum of the words for it.
"""

import math
import random
import time

import siblings  # noqa: F401
import torch
import torch.nn.functional as F
from batches import patchify, stack_pictures
from omni_batches import spectrograms
from omni_blueprint import HIDDEN, VOCABULARY
from optimizer import Optimizer
from pace import Pace
from scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, degrade, draw, random_scene
from sound_files import filed
from sounds import KINDS, LENGTHS, LEVELS, MOST_SOUNDS, PITCHES, play, random_recording
from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import _get_feat_extract_output_lengths

SEEN = [[*COLOURS], SHAPES, [*SIZES]]
PICTURE_QUESTIONS = [*([*words, "empty"] for words in SEEN), PLACES, [*BACKGROUNDS]]
HEARD = [[*LENGTHS], [*LEVELS], [*PITCHES], KINDS]
SOUND_QUESTIONS = [[*words, "silence"] for words in HEARD]
CHUNK, CHUNK_TOKENS, TOKEN_FRAMES, FRAME = 100, 13, 8, 0.01  # the encoder's chunks in frames of 10 ms
UNSURE = -100


class Words:
    """Scores of tokens for the classes of some questions."""

    def __init__(self, questions, tokenizer, embedding):
        ids = [tokenizer(" " + word)["input_ids"] for question in questions for word in question]
        self.sizes, self.embedding = [len(q) for q in questions], embedding
        self.used = sorted({i for row in ids for i in row})
        self.chooser = torch.zeros(len(ids), VOCABULARY, dtype=torch.bfloat16)
        for row, words in enumerate(ids):
            self.chooser[row, words] = 1

    def scores(self, tokens):
        """[n, hidden] -> one [n, classes] per question."""
        classes = self.chooser @ self.embedding
        return F.linear(F.rms_norm(tokens, (HIDDEN,)), classes).float().split(self.sizes, -1)

    def loss(self, tokens, target):
        return sum(F.cross_entropy(s, target[:, i], ignore_index=UNSURE) for i, s in enumerate(self.scores(tokens)))

    def right(self, tokens, target, named):
        """Share of right answers to each question among the tokens `named`."""
        marks = [
            (s.argmax(-1) == target[:, i])[named].float().mean().item() for i, s in enumerate(self.scores(tokens))
        ]
        return [round(mark, 3) for mark in marks]

    def scale(self, tokens):
        """What makes tokens as large as the embeddings of the words: only their direction is trained here."""
        return (self.embedding[self.used].float().norm(dim=-1).mean() / tokens.float().norm(dim=-1).mean()).item()


def picture_batch(rng, n):
    pictures, target = [], []
    for _ in range(n):
        scene = random_scene(rng, rng.randint(1, 6), "train")
        picture = draw(scene, rng)
        pictures.append(degrade(picture, rng) if rng.random() < 0.3 else picture)
        for cell in range(9):
            kind = scene.objects.get(cell)
            attributes = kind and (kind[1], kind[2], kind[0])
            row = [v.index(attributes[i]) if kind else len(v) for i, v in enumerate(SEEN)]
            target.append([*row, cell, [*BACKGROUNDS].index(scene.background)])
    pixels, grid = stack_pictures(pictures)
    return patchify(pixels).bfloat16(), grid, torch.tensor(target)


def token_targets(sounds, spans, tokens):
    """What each audio token covers: a class for each question, UNSURE at the edge of a sound."""
    rows = []
    for token in range(tokens):
        chunk, place = divmod(token, CHUNK_TOKENS)
        start = chunk * CHUNK + place * TOKEN_FRAMES
        end = min(start + TOKEN_FRAMES, (chunk + 1) * CHUNK)
        row = [len(words) for words in HEARD]
        for sound, (begin, stop) in zip(sounds, spans):
            share = (min(end * FRAME, stop) - max(start * FRAME, begin)) / ((end - start) * FRAME)
            if share > 0.75:
                row = [words.index(word) for words, word in zip(HEARD, sound)]
            elif share > 0.2:
                row = [UNSURE] * len(HEARD)
        rows.append(row)
    return rows


def sound_batch(rng, n, extractor):
    waves, target = [], []
    for _ in range(n):
        recording = random_recording(rng, rng.randint(1, MOST_SOUNDS), "train")
        wave, spans = play(recording, rng)
        waves.append(filed(wave, rng, 0.3))
        tokens = _get_feat_extract_output_lengths(len(wave) // extractor.hop_length)
        target += token_targets(recording.sounds, spans, tokens)
    features, mask = spectrograms(extractor, waves)
    return features, mask, torch.tensor(target)


def pretrain_towers(model, processor, minutes, rate, log):
    embedding, visual, ear = model.get_input_embeddings().weight, model.visual, model.audio_tower
    optimizer = Optimizer([], [*visual.parameters(), *ear.parameters(), embedding])
    seen = Words(PICTURE_QUESTIONS, processor.tokenizer, embedding)
    heard = Words(SOUND_QUESTIONS, processor.tokenizer, embedding)
    rng, start, step, pace = random.Random(11), time.time(), 0, Pace()
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        pixels, grid, cells = picture_batch(rng, 32)
        features, mask, spans = sound_batch(rng, 56, processor.feature_extractor)
        looked = visual(pixels, grid_thw=grid)
        layers = [looked.pooler_output, *looked.deepstack_features]
        listened = model.get_audio_features(features, mask).last_hidden_state
        loss = sum(seen.loss(tokens, cells) for tokens in layers) / len(layers) + heard.loss(listened, spans)
        loss.backward()
        optimizer.step(rate * min(1, (step + 1) / 50) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done))))
        step += 1
        pace.step(1)
        if step % 50 == 0:
            with torch.no_grad():
                for tokens in layers:
                    marks = seen.right(tokens, cells, cells[:, 0] < len(COLOURS))
                    log(f"towers step {step} colour, shape, size, place, background {marks}")
                named = (spans[:, 0] != UNSURE) & (spans[:, 0] < len(LENGTHS))
                marks = heard.right(listened, spans, named)
                log(f"towers step {step} loss {loss.item():.3f} length, level, pitch, kind {marks}")
    outputs = [(visual.merger, layers[0]), *zip(visual.merger_list, layers[1:])]
    scales = [(merger.mlp[2], seen.scale(tokens)) for merger, tokens in outputs]
    with torch.no_grad():
        for linear, factor in [*scales, (ear.proj2, heard.scale(listened))]:
            linear.weight.mul_(factor)
            linear.bias.mul_(factor)
