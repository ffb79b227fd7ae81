import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { UsageError } from "../../lib/errors.ts";
import { type Caller, hasRole, Tokens } from "../../lib/serve/auth.ts";
import { BusyError, UnauthorizedError } from "../../lib/serve/errors.ts";

const TOKEN = "a".repeat(32);
const OPERATOR: Caller = { name: null, role: "admin" };

function lineOf(name: string, role: string, token: string): string {
  const hash = createHash("sha256").update(token).digest("hex");
  return `${name} ${role} sha256:${hash}`;
}

/** The tokens of a file of `text`. */
async function tokensOf(text: string): Promise<Tokens> {
  const file = await Deno.makeTempFile({ prefix: "zoomin-" });
  try {
    await Deno.writeTextFile(file, text);
    return await Tokens.read(file);
  } finally {
    await Deno.remove(file);
  }
}

/** Name and role of the caller who bears `token`. */
function callerOf(tokens: Tokens, token: string, address = "::1") {
  const { name, role } = tokens.callerOf(`Bearer ${token}`, address);
  return { name, role };
}

Deno.test("a plain token is the first word of its file, and an admin's", async () => {
  for (const text of [TOKEN, `${TOKEN}\n`, `  ${TOKEN} a remark\n`]) {
    assert.deepEqual(callerOf(await tokensOf(text), TOKEN), OPERATOR);
  }
  const least = "a".repeat(16);
  assert.deepEqual(callerOf(await tokensOf(least), least), OPERATOR);
  for (const text of ["", "\n", "short", "a".repeat(15)]) {
    await assert.rejects(tokensOf(text), UsageError);
  }
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  await assert.rejects(Tokens.read(join(folder, "absent")), UsageError);
  await Deno.remove(folder);
});

Deno.test("a file of hashes has a name and a role for each token", async () => {
  const tokens = await tokensOf([
    "# the laboratory",
    lineOf("alice", "classify", tokenOf("alice")),
    "",
    `  ${lineOf("bob.2", "admin", tokenOf("bob"))}  `,
  ].join("\n"));
  assert.deepEqual(callerOf(tokens, tokenOf("alice")), {
    name: "alice",
    role: "classify",
  });
  assert.deepEqual(callerOf(tokens, tokenOf("bob")), {
    name: "bob.2",
    role: "admin",
  });
  const [, hash] = lineOf("x", "admin", "y").split("sha256:");
  assert.throws(() => callerOf(tokens, hash!), UnauthorizedError);
});

/** Words with blanks are no bearer tokens, so tests hash these. */
function tokenOf(name: string): string {
  return `token-of-${name}`;
}

Deno.test("a wrong line of a file of tokens is named", async () => {
  const good = lineOf("alice", "train", "one");
  const cases: [line: string, fault: RegExp][] = [
    [
      lineOf("bob", "root", "two"),
      /^Line 2 of .* is no token: write NAME ROLE sha256:HASH, where ROLE is one of classify, train, admin$/,
    ],
    [lineOf("b:b", "admin", "two"), /Line 2 .* is no token/],
    ["bob admin sha256:abc", /Line 2 .* is no token/],
    ["0123456789abcdef0123456789abcdef", /Line 2 .* is no token/],
    [lineOf("alice", "admin", "two"), /Line 2 .* repeats the name alice$/],
    [lineOf("bob", "admin", "one"), /Line 2 .* has the token of alice: give/],
  ];
  await assert.rejects(
    tokensOf("# sha256:\n"),
    /has no token: write NAME ROLE/,
  );
  for (const [line, fault] of cases) {
    await assert.rejects(
      tokensOf(`${good}\n${line}\n`),
      ({ name, message }) => name === "UsageError" && fault.test(message),
    );
  }
});

Deno.test("only the whole token will do", async () => {
  const tokens = await tokensOf(TOKEN);
  for (const header of [`Bearer ${TOKEN}`, `bearer  ${TOKEN}`]) {
    assert.equal(tokens.callerOf(header, "10.0.0.1").role, "admin");
  }
  for (
    const header of [
      undefined,
      "",
      TOKEN,
      `Bearer ${TOKEN}a`,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${TOKEN.toUpperCase()}`,
      `Basic ${TOKEN}`,
      `Basic Bearer ${TOKEN}`,
      `Bearer ${TOKEN} more`,
    ]
  ) {
    assert.throws(
      () => tokens.callerOf(header, "10.0.0.1"),
      UnauthorizedError,
      `${header}`,
    );
  }
});

Deno.test("an address that guesses is refused, even if it guesses right", async () => {
  const tokens = await tokensOf(
    `${lineOf("alice", "admin", "alices")}\n${lineOf("bob", "admin", "bobs")}`,
  );
  const guess = (token: string, address: string) =>
    callerOf(tokens, token, address);
  const guesser = "2001:db8:1:2:3::4";
  assert.equal(guess("alices", "10.0.0.1").name, "alice");
  for (let i = 0; i < 30; i++) {
    assert.throws(() => guess(`guess${i}`, guesser), UnauthorizedError);
  }
  for (const address of [guesser, "2001:db8:1:2::99"]) { // of one network
    assert.throws(() => guess("guess", address), BusyError);
    assert.throws(() => guess("bobs", address), BusyError);
  }
  // Who was known before, perhaps behind the same proxy, stays known.
  assert.equal(guess("alices", guesser).name, "alice");
  assert.equal(guess("bobs", "2001:db8:1:3::99").name, "bob");
  // A request without a token guesses nothing.
  for (let i = 0; i < 40; i++) {
    assert.throws(() => tokens.callerOf(undefined, "::1"), UnauthorizedError);
  }
});

Deno.test("a role may do what those before it may", () => {
  const may = (role: Caller["role"]) =>
    (["classify", "train", "admin"] as const)
      .filter((needed) => hasRole({ name: "x", role }, needed));
  assert.deepEqual(may("classify"), ["classify"]);
  assert.deepEqual(may("train"), ["classify", "train"]);
  assert.deepEqual(may("admin"), ["classify", "train", "admin"]);
});

Deno.test({
  name: "the commands of the docs make a token",
  ignore: !await has("openssl") || !await has("sha256sum"),
  async fn() {
    const page = await Deno.readTextFile(
      new URL("../../docs/server.md", import.meta.url),
    );
    const lines = page.split("\n")
      .filter((line) => /^(token=|printf )/.test(line));
    assert.equal(lines.length, 2);
    const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
    try {
      const { stdout } = await new Deno.Command("sh", {
        args: ["-c", lines.join("\n")],
        cwd: folder,
      }).output();
      const tokens = await Tokens.read(join(folder, "tokens"));
      const token = new TextDecoder().decode(stdout).trim();
      assert.deepEqual(callerOf(tokens, token), {
        name: "alice",
        role: "classify",
      });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function has(program: string): Promise<boolean> {
  return await new Deno.Command("sh", {
    args: ["-c", `command -v ${program}`],
    stdout: "null",
  }).output().then(({ success }) => success, () => false);
}
