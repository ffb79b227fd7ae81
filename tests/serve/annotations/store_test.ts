import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  AnnotationStore,
  etagOf,
} from "../../../lib/serve/annotations/store.ts";

const BOX = { x: 1, y: 2, width: 3, height: 4 };

Deno.test("objects are counted, and those of an older version kept", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    const path = join(folder, "annotations.sqlite");
    const older = new DatabaseSync(path);
    older.exec(`
      CREATE TABLE drawn (
        tablePath TEXT NOT NULL,
        image TEXT NOT NULL,
        objects TEXT NOT NULL,
        etag TEXT NOT NULL,
        PRIMARY KEY (tablePath, image)
      ) STRICT;
      PRAGMA user_version = 1;
    `);
    older.prepare("INSERT INTO drawn VALUES (?, ?, ?, ?)")
      .run("/a.csv", "a.png", JSON.stringify([BOX, BOX]), etagOf([BOX, BOX]));
    older.close();
    const place = { table: "/a.csv", image: "a.png" };
    {
      const store = new AnnotationStore(path);
      assert.deepEqual([...store.countsOf("/a.csv")], [["a.png", 2]]);
      const { objects, etag } = store.get(place)!;
      assert.deepEqual(objects, [BOX, BOX]);
      assert.equal(store.replace(place, [BOX], etagOf([])), undefined);
      assert.ok(store.replace(place, [BOX], etag));
      assert.ok(store.replace({ ...place, image: "b.png" }, [], undefined));
      store.close();
    }
    const store = new AnnotationStore(path);
    const counts = [...store.countsOf("/a.csv")].sort();
    assert.deepEqual(counts, [["a.png", 1], ["b.png", 0]]);
    assert.deepEqual([...store.countsOf("/b.csv")], []);
    store.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
