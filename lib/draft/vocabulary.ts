/** The ids of the target's vocabulary that a draft can predict, ascending; section 7 of the training contract. */
export class DraftVocabulary {
  /** [size]: target id of each draft id. */
  readonly targetIds: Int32Array;
  /** [vocabSize]: draft id of each target id, −1 where there is none. */
  readonly draftIds: Int32Array;

  constructor(targetIds: ArrayLike<number>, vocabSize: number) {
    this.targetIds = Int32Array.from(targetIds);
    this.draftIds = new Int32Array(vocabSize).fill(-1);
    this.targetIds.forEach((target, draft) => {
      const previous = this.targetIds[draft - 1] ?? -1;
      if (target <= previous || target >= vocabSize) {
        throw new RangeError(
          `draft vocabulary: expected ascending ids below ${vocabSize}, received ${target} after ${previous}`,
        );
      }
      this.draftIds[target] = draft;
    });
  }

  get size(): number {
    return this.targetIds.length;
  }

  get vocabSize(): number {
    return this.draftIds.length;
  }

  /** int64 [size]: target id = draft id + d2t[draft id]. */
  d2t(): BigInt64Array {
    return BigInt64Array.from(this.targetIds, (target, draft) => BigInt(target - draft));
  }

  /** bool [vocabSize]: whether the draft can predict the id. */
  t2d(): Uint8Array {
    return Uint8Array.from(this.draftIds, (id) => (id >= 0 ? 1 : 0));
  }

  static fromD2t(d2t: ArrayLike<bigint>, vocabSize: number): DraftVocabulary {
    return new DraftVocabulary(
      Array.from(d2t, (offset, draft) => draft + Number(offset)),
      vocabSize,
    );
  }
}

/** Counts supervised token ids. */
export class TokenCounter {
  readonly #counts: Float64Array;
  supervised = 0;

  /** @param vocabSize of the target's config, which may be larger than its tokenizer's. */
  constructor(readonly vocabSize: number) {
    this.#counts = new Float64Array(vocabSize);
  }

  add(ids: ArrayLike<number>, lossMask: ArrayLike<number>): void {
    for (let t = 0; t < ids.length; t++) {
      if (!lossMask[t]) continue;
      this.#counts[ids[t]!]! += 1;
      this.supervised += 1;
    }
  }

  /**
   * The `size` most frequent ids, ties by the lower id, `required` (end of turn, end of text) always among them.
   * `coverage` is the share of supervised tokens that the vocabulary holds.
   */
  select(size: number, required: readonly number[]): { vocabulary: DraftVocabulary; coverage: number } {
    if (size > this.vocabSize || size < required.length) {
      throw new RangeError(
        `draft vocabulary: expected a size from ${required.length} to ${this.vocabSize}, received ${size}`,
      );
    }
    const forced = new Set(required);
    const counts = this.#counts;
    const ranked = Array.from(counts.keys()).filter((id) => !forced.has(id));
    ranked.sort((a, b) => counts[b]! - counts[a]! || a - b);
    const chosen = [...forced, ...ranked.slice(0, size - forced.size)].sort((a, b) => a - b);
    const covered = chosen.reduce((sum, id) => sum + counts[id]!, 0);
    return {
      vocabulary: new DraftVocabulary(chosen, this.vocabSize),
      coverage: this.supervised === 0 ? 0 : covered / this.supervised,
    };
  }
}
