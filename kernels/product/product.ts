/**
 * Products of small matrices in float64, for what is trained in main memory: a
 * SIMD routine over a memory of its own. Each element of the result adds its
 * terms in their order, so that it has the same bits as a plain loop.
 *
 * @module
 */
import { FunctionBuilder, instantiate } from "../wasm/assembler.ts";

/** Sizes of a product, and how its first factor lies. */
export interface ProductSize {
  rows: number;
  /** Terms of each sum. */
  inner: number;
  columns: number;
  /** `a` is `[inner, rows]`; `[rows, inner]` if omitted. */
  transposed?: boolean;
}

// Sums of a block: they fill 8 of the 16 registers.
const ROWS = 2, COLUMNS = 8;
const VECTORS = COLUMNS / 2; // of two float64
const VECTOR_BYTES = 16;
const F32 = Float32Array.BYTES_PER_ELEMENT;
const F64 = Float64Array.BYTES_PER_ELEMENT;
const PAGE_BYTES = 65536;
// Rows at a time, so that the memory stays small.
const MAX_ROWS = 1024;

/**
 * c += a b.
 *
 * @param a `[rows, inner]`, or as `size` says.
 * @param b `[inner, columns]`.
 * @param c `[rows, columns]`, changed.
 */
export function addProduct(
  a: Float32Array,
  b: Float64Array,
  c: Float64Array,
  size: ProductSize,
): void {
  const { rows, inner, columns, transposed } = size;
  if (transposed) return addTogether(a, b, c, size);
  for (let from = 0; from < rows; from += MAX_ROWS) {
    const to = Math.min(rows, from + MAX_ROWS);
    addTogether(
      a.subarray(from * inner, to * inner),
      b,
      c.subarray(from * columns, to * columns),
      { ...size, rows: to - from },
    );
  }
}

/** Blocks by the routine, the last row and columns by plain loops. */
function addTogether(
  a: Float32Array,
  b: Float64Array,
  c: Float64Array,
  size: ProductSize,
): void {
  const { rows, inner, columns, transposed = false } = size;
  const pairs = Math.floor(rows / ROWS), blocks = Math.floor(columns / COLUMNS);
  if (pairs > 0 && blocks > 0 && inner > 0) {
    const { memory, addBlocks, at } = loaded(a, b, c);
    const rowBytes = columns * F64;
    for (let block = 0; block < blocks; block++) {
      const column = block * COLUMNS * F64;
      addBlocks(
        at.a,
        transposed ? F32 : inner * F32,
        transposed ? rows * F32 : F32,
        at.b + column,
        at.c + column,
        rowBytes,
        pairs,
        inner,
      );
    }
    c.set(new Float64Array(memory.buffer, at.c, c.length));
  }
  const done = { row: pairs * ROWS, column: blocks * COLUMNS };
  const rest = (row: number, from: number) => addRow(a, b, c, size, row, from);
  for (let row = 0; row < done.row; row++) rest(row, done.column);
  for (let row = done.row; row < rows; row++) rest(row, 0);
}

/** Adds to a row of `c`, from a column on. Values of `a` are often 0. */
function addRow(
  a: Float32Array,
  b: Float64Array,
  c: Float64Array,
  { rows, inner, columns, transposed = false }: ProductSize,
  row: number,
  column: number,
): void {
  if (column === columns) return;
  const first = transposed ? row : row * inner, step = transposed ? rows : 1;
  const to = row * columns;
  for (let k = 0; k < inner; k++) {
    const value = a[first + k * step]!;
    if (value === 0) continue;
    const from = k * columns;
    for (let j = column; j < columns; j++) c[to + j]! += value * b[from + j]!;
  }
}

interface Routine {
  memory: WebAssembly.Memory;
  addBlocks: (...parameters: number[]) => void;
}

let routine: Routine | undefined;

function instance(): Routine {
  if (routine) return routine;
  const memory = new WebAssembly.Memory({ initial: 1 });
  const name = "addBlocks";
  const addBlocks = instantiate([blocksBuilder(name)], memory)[name]!;
  return routine = { memory, addBlocks };
}

/** The routine with the matrices in its memory, and where they are, bytes. */
function loaded(
  a: Float32Array,
  b: Float64Array,
  c: Float64Array,
): Routine & { at: Record<"a" | "b" | "c", number> } {
  const { memory, addBlocks } = instance();
  const at = { b: 0, c: b.byteLength, a: b.byteLength + c.byteLength };
  const missing = at.a + a.byteLength - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
  new Float64Array(memory.buffer, at.b, b.length).set(b);
  new Float64Array(memory.buffer, at.c, c.length).set(c);
  new Float32Array(memory.buffer, at.a, a.length).set(a);
  return { memory, addBlocks, at };
}

/**
 * Eight columns of pairs of rows. Parameters: a, bytes to its next row and to its
 * next term, b, c, bytes of a row of b and c, pairs of rows, terms.
 */
function blocksBuilder(name: string): FunctionBuilder {
  const f = new FunctionBuilder(name, 8);
  const [a, aRow, aStep, b, c, rowBytes, pairs, inner] = [
    ...[0, 1, 2, 3, 4, 5, 6, 7],
  ] as [number, number, number, number, number, number, number, number];
  const from = Array.from({ length: ROWS }, () => f.local("i32"));
  const to = Array.from({ length: ROWS }, () => f.local("i32"));
  const term = f.local("i32");
  const value = from.map(() => f.local("v128"));
  const factor = f.local("v128");
  const sums = from.map(() =>
    Array.from({ length: VECTORS }, () => f.local("v128"))
  );
  const each = (use: (row: number, vector: number) => void) =>
    sums.forEach((own, row) => own.forEach((_, vector) => use(row, vector)));
  f.repeat(pairs, () => {
    for (let row = 0; row < ROWS; row++) {
      f.get(a).set(from[row]!).advance(a, aRow);
      f.get(c).set(to[row]!).advance(c, rowBytes);
    }
    each((row, i) => f.load(to[row]!, i * VECTOR_BYTES).set(sums[row]![i]!));
    f.get(b).set(term);
    f.repeat(inner, () => {
      from.forEach((at, row) => f.loadSplatDouble(at).set(value[row]!));
      for (let i = 0; i < VECTORS; i++) {
        f.load(term, i * VECTOR_BYTES).set(factor);
        for (let row = 0; row < ROWS; row++) {
          const sum = sums[row]![i]!;
          f.multiplyAddDouble(value[row]!, factor, sum).set(sum);
        }
      }
      for (const at of from) f.advance(at, aStep);
      f.advance(term, rowBytes);
    });
    each((row, i) => f.store(to[row]!, sums[row]![i]!, i * VECTOR_BYTES));
  });
  return f;
}
