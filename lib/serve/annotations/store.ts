/**
 * Objects that callers drew on the images of tables, in a SQLite file: several
 * processes of one machine may share it. The folders of data stay as they are.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import type {
  AnnotatedImage,
  AnnotatedObject,
} from "../../data/annotations/object.ts";
import { DataError, oneLine } from "../../errors.ts";

/** The image of a table. */
export interface ImagePlace {
  /** The table, absolute, without symbolic links. */
  table: string;
  /** The image, as the table names it. */
  image: string;
}

/** The objects of an image, and the tag of this version of them. */
export interface TaggedObjects {
  objects: AnnotatedObject[];
  etag: string;
}

const VERSION = 1;
const TABLES = `
  CREATE TABLE drawn (
    tablePath TEXT NOT NULL,
    image TEXT NOT NULL,
    objects TEXT NOT NULL,
    etag TEXT NOT NULL,
    PRIMARY KEY (tablePath, image)
  ) STRICT;
`;

/** The objects of images that someone drew. */
export class AnnotationStore {
  readonly #database: DatabaseSync;

  /** @throws {DataError} If the file is something else. */
  constructor(path: string) {
    this.#database = open(path);
  }

  /** All images of a table that someone drew on. */
  imagesOf(table: string): AnnotatedImage[] {
    const rows = this.#database
      .prepare("SELECT image, objects FROM drawn WHERE tablePath = ?")
      .all(table);
    return rows.map(({ image, objects }) => ({
      image: String(image),
      objects: JSON.parse(String(objects)),
    }));
  }

  /** The objects of an image; undefined if nobody drew on it. */
  get({ table, image }: ImagePlace): TaggedObjects | undefined {
    const row = this.#database
      .prepare(
        "SELECT objects, etag FROM drawn WHERE tablePath = ? AND image = ?",
      )
      .get(table, image);
    return row && {
      objects: JSON.parse(String(row.objects)),
      etag: String(row.etag),
    };
  }

  /**
   * Replaces the objects of an image, unless they have changed meanwhile.
   *
   * @param known tag of those that are replaced; undefined if nobody drew yet.
   * @return The new tag; undefined if they have changed.
   */
  replace(
    { table, image }: ImagePlace,
    objects: readonly AnnotatedObject[],
    known: string | undefined,
  ): string | undefined {
    const text = JSON.stringify(objects), etag = etagOf(objects);
    const { changes } = known === undefined
      ? this.#database.prepare(
        "INSERT INTO drawn VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
      ).run(table, image, text, etag)
      : this.#database.prepare(
        `UPDATE drawn SET objects = ?, etag = ?
         WHERE tablePath = ? AND image = ? AND etag = ?`,
      ).run(text, etag, table, image, known);
    return Number(changes) === 1 ? etag : undefined;
  }

  close(): void {
    this.#database.close();
  }
}

/** A strong validator of objects. */
export function etagOf(objects: readonly AnnotatedObject[]): string {
  const hash = createHash("sha256").update(JSON.stringify(objects));
  return `"${hash.digest("base64url").slice(0, 22)}"`; // 128 bits
}

function open(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path);
    // FULL: what was saved survives a power cut.
    database.exec(`
      PRAGMA busy_timeout = 5000;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      BEGIN IMMEDIATE;
    `);
    const version = Number(
      database.prepare("PRAGMA user_version").get()!.user_version,
    );
    if (version > VERSION) throw new Error("a newer zoomin wrote it");
    if (version === 0) {
      database.exec(`${TABLES} PRAGMA user_version = ${VERSION};`);
    }
    database.exec("COMMIT");
    return database;
  } catch (cause) {
    database?.close();
    throw new DataError(
      `Cannot open ${path} as a store of annotations: ${
        oneLine((cause as Error).message)
      }; move it away to begin without any`,
      { cause },
    );
  }
}
