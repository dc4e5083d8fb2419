import type { TilingConfig } from './config.js';

/** Columns and rows of tiles. */
export interface TileGrid {
  columns: number;
  rows: number;
}

/** Arrangements of `minTiles` to `maxTiles` tiles, fewest tiles first, then fewest columns. */
function arrangements({ minTiles, maxTiles }: TilingConfig): TileGrid[] {
  const grids: TileGrid[] = [];
  for (let tiles = minTiles; tiles <= maxTiles; tiles++) {
    for (let columns = 1; columns <= tiles; columns++) {
      if (tiles % columns === 0) grids.push({ columns, rows: tiles / columns });
    }
  }
  return grids;
}

/**
 * Tiles of a picture: the arrangement whose aspect ratio is nearest; of equally near ones a larger one only where the
 * picture has more than half of its area. The rule of transformers' `GotOcr2ImageProcessor`, of OpenGVLab's code and of
 * vLLM; SGLang takes the largest of equally near ones.
 *
 * @param size of the picture, and of a tile's side, in pixels
 */
export function chooseTiles(
  { width, height }: { width: number; height: number },
  tileSize: number,
  tiling: TilingConfig,
): TileGrid {
  const ratio = width / height;
  let best: TileGrid = { columns: 1, rows: 1 };
  let nearest = Infinity;
  for (const grid of arrangements(tiling)) {
    const distance = Math.abs(ratio - grid.columns / grid.rows);
    const large = width * height > 0.5 * tileSize * tileSize * grid.columns * grid.rows;
    if (distance < nearest || (distance === nearest && large)) best = grid;
    nearest = Math.min(nearest, distance);
  }
  return best;
}
