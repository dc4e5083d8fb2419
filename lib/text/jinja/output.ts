/** What a template prints. */
export class Output {
  text = '';
  /** Ends of the pieces that were printed at once, and whether the template spells them out. */
  readonly pieces: { end: number; literal: boolean }[] = [];

  write(text: string, literal: boolean): void {
    if (text === '') return;
    this.text += text;
    this.pieces.push({ end: this.text.length, literal });
  }
}

/** A range of an output, in UTF-16 code units. */
export interface Place {
  output: Output;
  start: number;
  end: number;
}
