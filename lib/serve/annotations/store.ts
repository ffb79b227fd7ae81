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

const VERSION = 2;
// The number stands before the objects, which are megabytes: to count them, SQLite
// reads none.
const TABLES = `
  CREATE TABLE drawn (
    tablePath TEXT NOT NULL,
    image TEXT NOT NULL,
    count INTEGER NOT NULL,
    etag TEXT NOT NULL,
    objects TEXT NOT NULL,
    PRIMARY KEY (tablePath, image)
  ) STRICT;
`;
const FROM_VERSION_1 = `
  ALTER TABLE drawn RENAME TO earlier;
  ${TABLES}
  INSERT INTO drawn
    SELECT tablePath, image, json_array_length(objects), etag, objects
    FROM earlier;
  DROP TABLE earlier;
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

  /** The number of objects of each image that someone drew on, by its name. */
  countsOf(table: string): Map<string, number> {
    const rows = this.#database
      .prepare("SELECT image, count FROM drawn WHERE tablePath = ?")
      .all(table);
    return new Map(
      rows.map(({ image, count }) => [String(image), Number(count)]),
    );
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
        "INSERT INTO drawn VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
      ).run(table, image, objects.length, etag, text)
      : this.#database.prepare(
        `UPDATE drawn SET count = ?, etag = ?, objects = ?
         WHERE tablePath = ? AND image = ? AND etag = ?`,
      ).run(objects.length, etag, text, table, image, known);
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
    if (version < VERSION) {
      database.exec(version === 0 ? TABLES : FROM_VERSION_1);
      database.exec(`PRAGMA user_version = ${VERSION}`);
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
