/**
 * A small assembler of WebAssembly modules. Our SIMD routines are generated
 * for the number of channels they work on, so that every accumulator stays in
 * a register; they share the memory of the tfjs WASM backend.
 *
 * Binary format: https://webassembly.github.io/spec/core/binary/ (2.0 with
 * SIMD, and the relaxed multiply-add if the machine has it).
 *
 * @module
 */

/** Type of a local; pointers and counts are i32. */
export type ValueType = "i32" | "f32" | "v128";

const VECTOR_BYTES = 16;
const TYPE_CODE = { i32: 0x7f, f32: 0x7d, v128: 0x7b } as const;

/** Instructions of one function, appended in order. */
export class FunctionBuilder {
  readonly #code: number[] = [];
  readonly #locals: ValueType[] = [];

  constructor(readonly name: string, readonly parameters: number) {}

  /** Adds a local and returns its index. */
  local(type: ValueType): number {
    this.#locals.push(type);
    return this.parameters + this.#locals.length - 1;
  }

  #emit(...bytes: number[]): this {
    for (const byte of bytes) this.#code.push(byte);
    return this;
  }

  #simd(opcode: number, ...rest: number[]): this {
    return this.#emit(0xfd, ...unsigned(opcode), ...rest);
  }

  get(local: number): this {
    return this.#emit(0x20, ...unsigned(local));
  }

  set(local: number): this {
    return this.#emit(0x21, ...unsigned(local));
  }

  /** Pushes an i32 constant. */
  constant(value: number): this {
    return this.#emit(0x41, ...signed(value));
  }

  /** local += other local. */
  advance(local: number, by: number): this {
    return this.get(local).get(by).#emit(0x6a).set(local);
  }

  /** local += constant. */
  advanceBy(local: number, bytes: number): this {
    return this.get(local).constant(bytes).#emit(0x6a).set(local);
  }

  /** Repeats `body` as often as the i32 `count` says, at least once. */
  repeat(count: number, body: () => void): this {
    const left = this.local("i32");
    this.get(count).set(left);
    this.#emit(0x03, 0x40); // loop
    body();
    this.get(left).constant(1).#emit(0x6b).set(left);
    return this.get(left).#emit(0x0d, 0x00, 0x0b); // br_if 0, end
  }

  /** Pushes the v128 at `pointer + offset`. */
  load(pointer: number, offset = 0): this {
    return this.get(pointer).#simd(0x00, 0x02, ...unsigned(offset));
  }

  /** Pushes the f32 at `pointer + offset`, repeated four times. */
  loadSplat(pointer: number, offset = 0): this {
    return this.get(pointer).#simd(0x09, 0x02, ...unsigned(offset));
  }

  /** Pushes one lane of a v128, repeated four times. */
  splatLane(vector: number, lane: number): this {
    return this.shuffle(vector, vector, [lane, lane, lane, lane]);
  }

  /** Pushes four lanes of two v128: 0 to 3 are those of a, 4 to 7 of b. */
  shuffle(a: number, b: number, lanes: readonly number[]): this {
    const bytes = lanes.flatMap((lane) =>
      [0, 1, 2, 3].map((i) => 4 * lane + i)
    );
    return this.get(a).get(b).#simd(0x0d, ...bytes);
  }

  /** Pushes the f32 at `pointer + offset`. */
  loadScalar(pointer: number, offset = 0): this {
    return this.get(pointer).#emit(0x2a, 0x02, ...unsigned(offset));
  }

  /** Stores the v128 in `value` at `pointer + offset`. */
  store(pointer: number, value: number, offset = 0): this {
    return this.get(pointer).get(value).#simd(0x0b, 0x02, ...unsigned(offset));
  }

  /** Stores the f32 in `value` at `pointer + offset`. */
  storeScalar(pointer: number, value: number, offset = 0): this {
    return this.get(pointer).get(value)
      .#emit(0x38, 0x02, ...unsigned(offset));
  }

  /** Copies as many bytes as a local says; the pointers are locals, too. */
  copy(to: number, from: number, bytes: number): this {
    return this.get(to).get(from).get(bytes).#emit(0xfc, 0x0a, 0, 0);
  }

  /** Zeroes as many bytes as a local says. */
  clear(to: number, bytes: number): this {
    return this.get(to).constant(0).get(bytes).#emit(0xfc, 0x0b, 0);
  }

  /** Pushes a * b + c of three v128; `relaxed` may round once (FMA). */
  multiplyAdd(a: number, b: number, c: number, relaxed: boolean): this {
    if (relaxed) return this.get(a).get(b).get(c).#simd(0x105);
    return this.get(a).get(b).#simd(0xe6).get(c).#simd(0xe4);
  }

  /** Pushes the f32 at `pointer + offset` as an f64, twice. */
  loadSplatDouble(pointer: number, offset = 0): this {
    return this.loadSplat(pointer, offset).#simd(0x5f);
  }

  /** Pushes a * b + c of two f64 each, rounded after each operation. */
  multiplyAddDouble(a: number, b: number, c: number): this {
    return this.get(c).get(a).get(b).#simd(0xf2).#simd(0xf0);
  }

  /** Pushes a + b, lane by lane. */
  add(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe4);
  }

  /** Pushes a - b, lane by lane. */
  subtract(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe5);
  }

  /** Pushes a * b, lane by lane. */
  multiply(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe6);
  }

  /** Pushes a / b, lane by lane. */
  divide(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe7);
  }

  /** Pushes the smaller of two v128, lane by lane; NaN if either is. */
  minimum(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe8);
  }

  /** Pushes the larger of two v128, lane by lane; NaN if either is. */
  maximum(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xe9);
  }

  /** Pushes a mask of the lanes in which a > b. */
  greater(a: number, b: number): this {
    return this.get(a).get(b).#simd(0x44);
  }

  /** Pushes a mask of the lanes in which a < b. */
  less(a: number, b: number): this {
    return this.get(a).get(b).#simd(0x43);
  }

  /** Pushes a mask of the lanes in which a = b. */
  equal(a: number, b: number): this {
    return this.get(a).get(b).#simd(0x41);
  }

  /** Pushes the bitwise and of a and b. */
  and(a: number, b: number): this {
    return this.get(a).get(b).#simd(0x4e);
  }

  /** Pushes the bits of a that are not set in b. */
  andNot(a: number, b: number): this {
    return this.get(a).get(b).#simd(0x4f);
  }

  /** Pushes the f32 whose exponent is the lowest bits of `integers`: 2^n. */
  powerOfTwo(integers: number): this {
    return this.get(integers).constant(23).#simd(0xab);
  }

  /** Pushes a + b of four i32 each. */
  addIntegers(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xae);
  }

  /** Pushes a - b of four i32 each. */
  subtractIntegers(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xb1);
  }

  /** Pushes the lower 32 bits of the products of four i32 each. */
  multiplyIntegers(a: number, b: number): this {
    return this.get(a).get(b).#simd(0xb5);
  }

  /** Pushes four i32 in which the upper 16 bits are added to the lower by xor. */
  foldBits(integers: number): this {
    return this.get(integers).get(integers).constant(16).#simd(0xad)
      .#simd(0x51);
  }

  /** Pushes an i32, repeated four times. */
  splatInteger(value: number): this {
    return this.get(value).#simd(0x11);
  }

  /** Pushes the f32 of four u32. */
  unsignedToFloats(integers: number): this {
    return this.get(integers).#simd(0xfb);
  }

  /** Pushes four f32 of i32: those above the 23 lowest bits of `integers`. */
  exponents(integers: number): this {
    return this.get(integers).constant(23).#simd(0xac).#simd(0xfa);
  }

  /** Pushes a + b of four i32, b the four u16 at `pointer`. */
  addShorts(a: number, pointer: number): this {
    return this.get(a).get(pointer).#simd(0x04, 0x01, 0x00).#simd(0xae);
  }

  /** Pushes the f64 at `pointer`, twice. */
  loadDoubles(pointer: number): this {
    return this.get(pointer).#simd(0x0a, 0x03, 0x00);
  }

  /** Pushes the products of the first two i32 and two f64 as f32, then zeros. */
  scaleIntegers(integers: number, factors: number): this {
    return this.get(integers).#simd(0xfe).get(factors).#simd(0xf2).#simd(0x5e);
  }

  /** Stores the first two lanes of `value` at `pointer`. */
  storeHalf(pointer: number, value: number): this {
    return this.get(pointer).get(value).#simd(0x5b, 0x02, 0x00, 0x00);
  }

  /** Stores the first lane of `value` at `pointer + offset`. */
  storeLane(pointer: number, value: number, offset: number): this {
    return this.get(pointer).get(value)
      .#simd(0x5a, 0x02, ...unsigned(offset), 0x00);
  }

  /** Pushes a + b of eight u16, b the lower or upper eight bytes of a vector. */
  addBytes(a: number, b: number, half: "low" | "high"): this {
    return this.get(a).get(b).#simd(half === "low" ? 0x89 : 0x8a).#simd(0x8e);
  }

  /** Pushes an f32, repeated four times. */
  constantVector(value: number): this {
    const lane = new Uint8Array(Float32Array.of(value).buffer);
    return this.#simd(0x0c, ...lane, ...lane, ...lane, ...lane);
  }

  /** Pushes four i32; the first in all lanes if it is alone. */
  constantIntegers(value: number, ...others: number[]): this {
    const lanes = others.length > 0 ? [value, ...others] : Array(4).fill(value);
    return this.#simd(0x0c, ...new Uint8Array(Int32Array.from(lanes).buffer));
  }

  /** Pushes a v128 of zeros. */
  zero(): this {
    return this.#simd(0x0c, ...Array<number>(VECTOR_BYTES).fill(0));
  }

  /** Adds the four lanes of `vector` to the f32 on the stack. */
  addLanes(vector: number): this {
    for (let lane = 0; lane < 4; lane++) {
      this.get(vector).#simd(0x1f, lane).#emit(0x92);
    }
    return this;
  }

  /** The body in the encoding of the code section. */
  bytes(): number[] {
    const locals = this.#locals.flatMap((type) => [1, TYPE_CODE[type]]);
    return sized([
      ...unsigned(this.#locals.length),
      ...locals,
      ...this.#code,
      0x0b,
    ]);
  }
}

/**
 * Instantiates functions over `memory`; each takes i32 parameters and returns
 * nothing.
 */
export function instantiate(
  functions: readonly FunctionBuilder[],
  memory: WebAssembly.Memory,
): Record<string, (...args: number[]) => void> {
  const module = new WebAssembly.Module(encode(functions));
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  return instance.exports as Record<string, (...args: number[]) => void>;
}

/** This machine's WebAssembly has the relaxed multiply-add. */
export function hasRelaxedMultiplyAdd(): boolean {
  const probe = new FunctionBuilder("probe", 0);
  const value = probe.local("v128");
  probe.multiplyAdd(value, value, value, true).set(value);
  return WebAssembly.validate(encode([probe]));
}

function encode(
  functions: readonly FunctionBuilder[],
): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters }) => [
    0x60,
    ...unsigned(parameters),
    ...Array<number>(parameters).fill(TYPE_CODE.i32),
    0,
  ]);
  const memory = [...text("env"), ...text("memory"), 0x02, 0x00, 0x00];
  const exports = functions.map(({ name }, i) => [
    ...text(name),
    0x00,
    ...unsigned(i),
  ]);
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // "\0asm", version 1
    ...section(1, types),
    ...section(2, [memory]),
    ...section(3, functions.map((_, i) => unsigned(i))),
    ...section(7, exports),
    ...section(10, functions.map((f) => f.bytes())),
  ]);
}

function section(id: number, items: readonly number[][]): number[] {
  return [id, ...sized([...unsigned(items.length), ...items.flat()])];
}

function sized(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function text(value: string): number[] {
  return sized([...new TextEncoder().encode(value)]);
}

/** LEB128 of an unsigned integer below 2^32. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    const low = value & 0x7f;
    value >>>= 7;
    bytes.push(value === 0 ? low : low | 0x80);
  } while (value !== 0);
  return bytes;
}

/** LEB128 of a signed 32-bit integer. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const done = (value === 0 && !(low & 0x40)) ||
      (value === -1 && (low & 0x40) !== 0);
    bytes.push(done ? low : low | 0x80);
    if (done) return bytes;
  }
}
