import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ImageRefusedError } from "../../../lib/errors.ts";
import { ForbiddenError, InputError } from "../../../lib/serve/errors.ts";
import { Sources } from "../../../lib/serve/intake/allowed_sources.ts";

/** Sources of FOLDER/data, which is named by a link, and of one host. */
async function withSources(
  test: (sources: Sources, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.realPath(
    await Deno.makeTempDir({ prefix: "zoomin-" }),
  );
  const at = (...names: string[]) => join(folder, ...names);
  try {
    for (const name of ["data", "data/inner", "data-secret"]) {
      await Deno.mkdir(at(name));
    }
    for (
      const name of ["data/a.png", "data/inner/b.png", "data-secret/c.png"]
    ) await Deno.writeTextFile(at(name), name);
    await Deno.writeTextFile(at("data", "..c.png"), "an odd name");
    await Deno.symlink(at("data"), at("link"));
    await Deno.symlink(at("data-secret", "c.png"), at("data", "c.png"));
    await Deno.symlink(at("data", "inner", "b.png"), at("data", "b.png"));
    await Deno.symlink(at("data-secret"), at("data", "secret"));
    const sources = await Sources.open({
      roots: [at("link")],
      hosts: ["example.org"],
    });
    await test(sources, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("files in the folders of data may be named, by any way that leads there", async () => {
  await withSources(async (sources, folder) => {
    const real = (...names: string[]) => join(folder, "data", ...names);
    const cases: [string, string][] = [
      ["a.png", real("a.png")],
      ["inner/b.png", real("inner", "b.png")],
      ["inner/../a.png", real("a.png")],
      ["b.png", real("inner", "b.png")], // a link that stays inside
      ["..c.png", real("..c.png")],
      [join(folder, "link", "a.png"), real("a.png")],
      [real("a.png"), real("a.png")],
    ];
    for (const [path, file] of cases) {
      const { size: bytes } = await Deno.stat(file);
      assert.deepEqual(await sources.found(path), { file, bytes }, path);
    }
    const { href } = pathToFileURL(real("a.png"));
    assert.deepEqual(
      await sources.uri(href),
      await sources.found(real("a.png")),
    );
  });
});

Deno.test("no other file may be named, whether it is there or not", async () => {
  await withSources(async (sources, folder) => {
    const outside = [
      ...["../data-secret/c.png", "c.png", "secret/c.png", "absent.png"],
      ...[
        "inner",
        ".",
        "",
        "..",
        "/etc/passwd",
        "inner/../../data-secret/c.png",
      ],
      ...[join(folder, "data-secret", "c.png"), join(folder, "data")],
    ];
    for (const path of outside) {
      await assert.rejects(sources.file(path, "it"), (error: Error) => {
        assert.ok(error instanceof ForbiddenError, path);
        assert.match(error.message, /^Cannot read "it": there is no such file/);
        return true;
      });
    }
    const { href } = pathToFileURL(join(folder, "data-secret", "c.png"));
    await assert.rejects(sources.uri(href), ForbiddenError);
  });
});

Deno.test("URLs of allowed hosts may be named, and nothing else", async () => {
  await withSources(async (sources) => {
    assert.deepEqual(await sources.uri("https://example.org/a.tif?b=c"), {
      url: "https://example.org/a.tif?b=c",
    });
    for (const uri of ["https://other.org/a.tif", "http://169.254.169.254/"]) {
      await assert.rejects(sources.uri(uri), ImageRefusedError, uri);
    }
    for (
      const uri of ["a.png", "", "ftp://example.org/a", "data:,x", "\ud800"]
    ) {
      await assert.rejects(sources.uri(uri), InputError, uri);
    }
  });
});
