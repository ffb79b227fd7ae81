/**
 * GPU buffers kept for reuse, within a bound.
 *
 * tfjs keeps every buffer that it ever freed, by its exact size. Images of many
 * sizes leave many such lists behind, until the GPU's memory is full.
 *
 * @module
 */

/**
 * Free buffers, by size and usage; beyond the bound the oldest kinds are
 * destroyed.
 */
export class FreeBuffers {
  /** Kinds in order of last use, the most recent last. */
  readonly #kinds = new Map<string, GPUBuffer[]>();
  readonly #most: number;
  #bytes = 0;

  /** @param most bytes to keep at most. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Bytes kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return [...this.#kinds.values()]
      .reduce((sum, { length }) => sum + length, 0);
  }

  /** A buffer of this kind, if one is free. */
  take(size: number, usage: GPUBufferUsageFlags): GPUBuffer | undefined {
    const buffer = this.#ofKind(size, usage).pop();
    if (buffer) this.#bytes -= size;
    return buffer;
  }

  /** Keeps a buffer whose last use has been submitted. */
  give(buffer: GPUBuffer): void {
    this.#ofKind(buffer.size, buffer.usage).push(buffer);
    this.#bytes += buffer.size;
    for (const [kind, buffers] of this.#kinds) {
      while (this.#bytes > this.#most && buffers.length > 0) {
        this.#destroy(buffers.pop()!);
      }
      if (this.#bytes <= this.#most) break;
      this.#kinds.delete(kind);
    }
  }

  destroyAll(): void {
    for (const buffers of this.#kinds.values()) {
      for (const buffer of buffers) this.#destroy(buffer);
    }
    this.#kinds.clear();
  }

  #ofKind(size: number, usage: GPUBufferUsageFlags): GPUBuffer[] {
    const kind = `${size} ${usage}`;
    const buffers = this.#kinds.get(kind) ?? [];
    this.#kinds.delete(kind);
    this.#kinds.set(kind, buffers);
    return buffers;
  }

  #destroy(buffer: GPUBuffer): void {
    this.#bytes -= buffer.size;
    buffer.destroy();
  }
}

/** Replaces tfjs's `BufferManager`, which has no bound. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free: FreeBuffers;
  readonly #used = new Set<GPUBuffer>();
  numBytesUsed = 0;
  /** Bytes acquired since the owner last set it to 0. */
  acquiredBytes = 0;

  /** @param most bytes of free buffers to keep at most. */
  constructor(device: GPUDevice, most: number) {
    this.#device = device;
    this.#free = new FreeBuffers(most);
  }

  get numBytesAllocated(): number {
    return this.numBytesUsed + this.#free.bytes;
  }

  /** A buffer for use; with `reuse` possibly a used one. */
  acquireBuffer(
    size: number,
    usage: GPUBufferUsageFlags,
    mappedAtCreation = false,
    reuse = true,
  ): GPUBuffer {
    const buffer = (reuse ? this.#free.take(size, usage) : undefined) ??
      this.#device.createBuffer({ size, usage, mappedAtCreation });
    this.#used.add(buffer);
    this.numBytesUsed += size;
    this.acquiredBytes += size;
    return buffer;
  }

  /** Takes back a buffer whose last use has been submitted. */
  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (!this.#used.delete(buffer)) return; // the pool was disposed of
    this.numBytesUsed -= buffer.size;
    if (reuse) this.#free.give(buffer);
    else buffer.destroy();
  }

  getNumUsedBuffers(): number {
    return this.#used.size;
  }

  getNumFreeBuffers(): number {
    return this.#free.count;
  }

  dispose(): void {
    for (const buffer of this.#used) buffer.destroy();
    this.#used.clear();
    this.numBytesUsed = 0;
    this.#free.destroyAll();
  }
}
