/**
 * The objects of an image while they are drawn: changed, taken back, saved.
 *
 * @module
 */
import type { AnnotatedObject } from "./types.ts";

type Objects = readonly AnnotatedObject[];

/** Objects, and those before each change. */
export class Drawn {
  #objects: Objects;
  #saved: Objects;
  readonly #before: Objects[] = [];

  /** @param saved the objects that the server has. */
  constructor(saved: Objects) {
    this.#objects = this.#saved = saved;
  }

  get objects(): Objects {
    return this.#objects;
  }

  get isChanged(): boolean {
    return this.#objects !== this.#saved;
  }

  get canUndo(): boolean {
    return this.#before.length > 0;
  }

  add(object: AnnotatedObject): void {
    this.#become([...this.#objects, object]);
  }

  remove(index: number): void {
    this.#become(this.#objects.toSpliced(index, 1));
  }

  replace(index: number, object: AnnotatedObject): void {
    this.#become(this.#objects.with(index, object));
  }

  undo(): void {
    this.#objects = this.#before.pop() ?? this.#objects;
  }

  /** Notes that the server has `objects`; others may have come meanwhile. */
  saved(objects: Objects): void {
    this.#saved = objects;
  }

  #become(objects: Objects): void {
    this.#before.push(this.#objects);
    this.#objects = objects;
  }
}
