/**
 * Annotated objects of the images of a table: those that its own files state,
 * and those that callers drew in their place.
 *
 * @module
 */
import type {
  AnnotatedImage,
  AnnotatedObject,
} from "../../data/annotations/object.ts";
import { DataError } from "../../errors.ts";
import type { ObjectDocument, TableRowsDocument } from "../documents.ts";
import { ChangedError, InputError, NotFoundError } from "../errors.ts";
import type { Sources } from "../intake/allowed_sources.ts";
import type { Messages } from "../redaction.ts";
import type { Tables } from "../tables/tables.ts";
import { type AnnotationStore, etagOf, type TaggedObjects } from "./store.ts";

/** Parts of the server that annotations need. */
export interface AnnotationsOptions {
  store: AnnotationStore;
  sources: Sources;
  tables: Tables;
  messages: Messages;
}

/** An image of a table, as a request names both. */
export interface ImageOfTable {
  table: string;
  image: string;
}

/** The objects of an image as a caller sees them. */
export interface SeenObjects {
  objects: ObjectDocument[];
  /** Changes with them. */
  etag: string;
  /** A caller drew them. */
  isDrawn: boolean;
}

/** Reads and replaces the annotations of tables. */
export class Annotations {
  readonly #options: AnnotationsOptions;

  constructor(options: AnnotationsOptions) {
    this.#options = options;
  }

  /**
   * The first images of a table.
   *
   * @throws {ForbiddenError} If the table is missing or not allowed.
   * @throws {InputError} If it has faults.
   */
  async rows(table: string, signal: AbortSignal): Promise<TableRowsDocument> {
    const path = await this.#options.sources.file(table);
    const { rows, isCut } = await this.#read((tables) =>
      tables.rows(path, signal)
    );
    const counts = this.#options.store.countsOf(path);
    return {
      isCut,
      rows: rows.map((row) => {
        const count = counts.get(row.image);
        return count === undefined ? row : { ...row, drawn: count };
      }),
    };
  }

  /**
   * The URL of an image of a table by the name that {@linkcode rows} gives it.
   *
   * @throws {ForbiddenError | InputError} As {@linkcode rows}.
   */
  async url({ table, image }: ImageOfTable): Promise<string> {
    const path = await this.#options.sources.file(table);
    const urls = await this.#told(() => this.#options.tables.urls(path));
    return urls.get(image) ?? image;
  }

  /**
   * The objects of an image: those drawn, else those that the table's own files
   * state.
   *
   * @throws {NotFoundError} If the table has no such image.
   * @throws {ForbiddenError | InputError} As {@linkcode rows}.
   */
  async objects(
    { table, image }: ImageOfTable,
    signal: AbortSignal,
  ): Promise<SeenObjects> {
    const { store, sources } = this.#options;
    const path = await sources.file(table);
    const drawn = store.get({ table: path, image });
    if (drawn) return seen(drawn, true);
    const objects = await this.#read((tables) =>
      tables.objects(path, image, signal)
    );
    if (objects) return seen({ objects, etag: etagOf(objects) }, false);
    throw new NotFoundError(
      `The table ${JSON.stringify(table)} has no image ${
        JSON.stringify(image)
      }`,
    );
  }

  /**
   * Replaces the objects of an image by those drawn.
   *
   * @param known tags of the objects that the caller has seen; "*" replaces any.
   * @return The tag of the new ones.
   * @throws {ChangedError} If the objects are others by now.
   */
  async replace(
    place: ImageOfTable,
    { objects, known, signal }: {
      objects: readonly ObjectDocument[];
      known: readonly string[] | "*";
      signal: AbortSignal;
    },
  ): Promise<string> {
    const { store, sources } = this.#options;
    const table = await sources.file(place.table);
    const drawn = objects.map(annotated);
    for (;;) {
      const before = await this.objects(place, signal);
      if (known !== "*" && !known.includes(before.etag)) break;
      const etag = store.replace(
        { table, image: place.image },
        drawn,
        before.isDrawn ? before.etag : undefined,
      );
      if (etag !== undefined) return etag; // else changed meanwhile
    }
    throw new ChangedError(
      `The objects of ${
        JSON.stringify(place.image)
      } were changed meanwhile: get them again, then repeat your change`,
    );
  }

  /** All objects of a table as CSV, as `train --boxes` reads it. */
  async csv(table: string, signal: AbortSignal): Promise<string> {
    const path = await this.#options.sources.file(table);
    const drawn = this.drawnOn(path);
    return await this.#read((tables) => tables.boxes(path, drawn, signal));
  }

  /**
   * What callers drew on the images of a table.
   *
   * @param path absolute, without symbolic links.
   */
  drawnOn(path: string): AnnotatedImage[] {
    return this.#options.store.imagesOf(path);
  }

  async #read<T>(work: (tables: Tables) => Promise<T>): Promise<T> {
    const { tables } = this.#options;
    return await this.#told(() => tables.inTurn(() => work(tables)));
  }

  /** Makes faults of a table those of the request. */
  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (!(cause instanceof DataError)) throw cause;
      const message = this.#options.messages.of(cause);
      throw new InputError("table", message, { cause });
    }
  }
}

function seen({ objects, etag }: TaggedObjects, isDrawn: boolean): SeenObjects {
  const documents = objects.map(({ polygons, ...object }) => ({
    ...object,
    ...(polygons && { polygons: [...polygons] }),
  }));
  return { objects: documents, etag, isDrawn };
}

function annotated(
  { type, polygons, ...region }: ObjectDocument,
): AnnotatedObject {
  return {
    ...region,
    ...(type !== undefined && { type }),
    ...(polygons && { polygons }),
  };
}
