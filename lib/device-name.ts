/** Where a job computes: `auto` is the first GPU where there is one that works, else the CPU. */
export type DeviceName = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** What a {@link DeviceName} looks like. */
export const devicePattern = /^(auto|cpu|cuda|cuda:\d{1,3})$/;
