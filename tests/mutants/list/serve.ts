/** Faults in lib/serve/. @module */
import type { MutantGroup } from "../mutant.ts";

export const SERVE: readonly MutantGroup[] = [
  {
    file: "lib/serve/auth.ts",
    tests: ["tests/serve/auth_test.ts"],
    changes: [
      [
        "timingSafeEqual(digest, token.digest)\n",
        "digest.length === token.digest.length\n",
      ],
      ["token.length >= MIN_LENGTH", "token.length > MIN_LENGTH"],
      ["/^Bearer +(\\S+)$/i", "/Bearer +(\\S+)/i"],
      ["if (header) this.#failures", "this.#failures"],
      ["&& !(caller && this.#accepted.has(caller))", "&& !caller"],
      [".slice(0, 4)", ""],
      ["ROLES.indexOf(caller.role) >=", "ROLES.indexOf(caller.role) >"],
    ],
  },
  {
    file: "lib/serve/intake/addresses.ts",
    tests: ["tests/serve/intake/addresses_test.ts"],
    changes: [
      ['["172.16.0.0", 12]', '["172.16.0.0", 16]'],
      ['globalV6.check(address, "ipv6") &&', ""],
      ['!blockedV6.check(address, "ipv6")', "true"],
      ["addresses.every(isPublicAddress)", "addresses.some(isPublicAddress)"],
      ["addresses.length > 0 && ", ""],
      ["/^fe[89ab].:/", "/^fe8.:/"],
      ['["100.64.0.0", 10]', '["100.64.0.0", 16]'],
    ],
  },
  {
    file: "lib/serve/intake/guarded_fetch.ts",
    tests: ["tests/serve/intake/guarded_fetch_test.ts"],
    changes: [
      ["if (!arePublicAddresses(", "if (arePublicAddresses("],
      [
        "url = new URL(location, url);",
        "return guardedFetch([url.host, new URL(location, url).host])(new URL(location, url), options);",
      ],
      ["listed && !isLinkLocal(name)", "listed"],
      ['url.username === "" && url.password === ""', "true"],
      ["redirects <= MAX_REDIRECTS", "redirects <= 1e9"],
      ['(url.port === "" && hosts.has(name))', "hosts.has(name)"],
      ["...(signal && { signal }),", ""],
    ],
  },
  {
    file: "lib/serve/engine/batcher.ts",
    tests: ["tests/serve/engine/batcher_test.ts"],
    changes: [
      ["lane.held < this.#work.ahead()", "lane.held < this.#work.size()"],
      [
        "if (--left === 0) controller.abort(signal.reason);",
        "controller.abort(signal.reason);",
      ],
      ["if (--left === 0) controller.abort(signal.reason);", ""],
      [
        "if (signal.aborted) count();\n    else signal",
        "signal",
        "whoever has left is dropped just before, in the same turn",
      ],
      ["for (const { prepared } of batch) this.#work.release(prepared);", ""],
      ["if (signal.aborted) this.#work.release(prepared);", ""],
      ["this.#claimMs += CLAIM * ms;", "this.#claimMs = 0;"],
      [
        "const lanes = [this.#urgent, this.#others];",
        "const lanes = [this.#others, this.#urgent];",
      ],
      ["this.#work.keyOf(waiting.task) === key", "true"],
      [
        "else await this.#runApart(batch);",
        "else for (const { waiting } of batch) waiting.answer.reject(error);",
      ],
      ["lane.addWait(performance.now() - started);", ""],
      [
        "this.#fill(lane); // while the batch computes",
        "// while the batch computes",
      ],
    ],
  },
  {
    file: "lib/serve/jobs/schema.ts",
    tests: ["tests/serve/jobs/schema_test.ts"],
    changes: [
      ["if (version > STEPS.length) {", "if (version >= STEPS.length) {"],
      ["if (version > STEPS.length) {", "if (false) {"],
      ["STEPS.slice(version)", "STEPS.slice(version + 1)"],
      ['  database.exec("BEGIN IMMEDIATE"); // another', "  // another"],
      ["  database.exec(`PRAGMA user_version = ${STEPS.length}`);\n", ""],
    ],
  },
  {
    file: "lib/serve/jobs/sqlite_store.ts",
    tests: ["tests/serve/jobs/sqlite_store_test.ts"],
    changes: [
      ["THEN setbacks ELSE 0 END", "THEN setbacks ELSE setbacks END"],
      [
        "cancelAsked = 0, setbacks = 0, suspicions = 0\n         WHERE",
        "cancelAsked = 0\n         WHERE",
      ],
      [
        ': "setbacks = 0, suspicions = 0"',
        ': "setbacks = setbacks + alone"',
      ],
      ["suspicions + 1 - alone", "suspicions + 1, alone = 1"],
      ["isAlone: Number(isAlone)", "isAlone: 1"],
      ["suspicions + (state = 'running' AND alone = 0)", "suspicions"],
      [
        "AND state = 'running' AND attempts = :attempts",
        "AND state = 'running'",
      ],
      ["AND leaseUntil < :now", "AND leaseUntil > :now"],
      [
        "Number(waiting!.count) >= this.#options.queuedJobs",
        "Number(waiting!.count) > this.#options.queuedJobs",
      ],
      ["known.requestDigest === digest", "true"],
      [
        "ORDER BY createdAt, rowid LIMIT 1",
        "ORDER BY createdAt DESC, rowid DESC LIMIT 1",
      ],
      ["kind = 'train' AND id <> :id", "kind = 'train'"],
      [
        "leaseUntil = NULL,\n         cancelAsked = 0, finishedAt",
        "leaseUntil = NULL,\n         finishedAt",
        "nobody asks it of a job that ended, and resume() takes it back itself",
      ],
      ["alone = 1) >= :most", "alone = 1) > :most"],
      ["WHERE finishedAt < :date", "WHERE createdAt < :date"],
      ["progress = COALESCE(:progress, progress)", "progress = :progress"],
    ],
  },
  {
    file: "lib/serve/jobs/runner.ts",
    tests: ["tests/serve/jobs/runner_test.ts", "tests/serve/jobs/ends_test.ts"],
    changes: [
      [
        "await store.release(job, { setback });",
        "await store.release(job);",
      ],
      [
        "const hold = await store.beat(job, noted);",
        "const hold = await store.beat(job);",
      ],
      [
        "if (progress) await beat(); // the final progress",
        "// the final progress",
      ],
      [
        'error.reason === "drain") await store.release(job);',
        'error.reason === "drain") await store.release(job, { setback: true });',
      ],
      ["await beat();\n          controller", "controller"],
      ["if (isOurs) await this.#removeImage", "await this.#removeImage"],
    ],
  },
  {
    file: "lib/serve/intake/uploads.ts",
    tests: ["tests/serve/intake/uploads_test.ts"],
    changes: [
      [
        "if (isOurs) return new Uploads(folder, lock, limits);",
        "return new Uploads(folder, lock, limits);",
      ],
      ["if (!await lock.tryLock(true)) return;", ""],
      ["bytes > this.#limits.uploadBytes", "false"],
      [
        "if ((announced ?? 0) > uploadBytes) throw new TooLargeError(this.#tooLarge);",
        "",
      ],
      ["      await this.remove({ path });\n", ""],
      ["await this.remove(upload);\n    throw", "throw"],
    ],
  },
  {
    file: "lib/serve/intake/paced_body.ts",
    tests: [
      "tests/serve/intake/paced_body_test.ts",
      "tests/serve/intake/paced_body_bounds_test.ts",
    ],
    changes: [
      ["if (bytes > mostBytes)", "if (bytes >= mostBytes)"],
      ["Math.min(stallMs, earnedMs - waitedMs)", "stallMs"],
      ["waitedMs += performance.now() - started;", ""],
      ["reader.cancel().catch(() => {});", ""],
    ],
  },
  {
    file: "lib/serve/jobs/batch.ts",
    tests: ["tests/serve/jobs/batch_test.ts"],
    changes: [
      [
        "let { lines: done, failures } = earlier;",
        "let { failures } = earlier, done = 0;",
      ],
      [
        "let { lines: done, failures } = earlier;",
        "let { lines: done } = earlier, failures = 0;",
      ],
    ],
  },
  {
    file: "lib/serve/jobs/groups.ts",
    tests: ["tests/serve/jobs/groups_test.ts"],
    changes: [
      [
        "next = start(row + size);\n      yield await begun;",
        "yield await begun;\n      next = start(row + size);",
      ],
      ["if (items.length > 0) yield items;", ""],
      ["await next?.catch(() => {}); // the caller", "// the caller"],
    ],
  },
  {
    file: "lib/serve/jobs/cut_batch.ts",
    tests: ["tests/serve/jobs/groups_test.ts"],
    changes: [
      ["Math.min(Math.max(part, MIN_ROWS), most)", "most"],
    ],
  },
  {
    file: "lib/serve/intake/allowed_sources.ts",
    tests: ["tests/serve/intake/allowed_sources_test.ts"],
    changes: [
      ['path !== ".." && !path.startsWith(`..${sep}`) &&', ""],
      ["!path.startsWith(`..${sep}`)", '!path.startsWith("..")'],
      [
        "const file = await Deno.realPath(await spelled(path));",
        "const file = await spelled(path);",
      ],
      ["isFile ? { file, bytes: size } : undefined", "{ file, bytes: size }"],
      ["this.roots.some((root) => isInside(root, file))", "true"],
      ["        assertAllowed(url, this.#hosts);\n", ""],
      ["await Promise.all(roots.map((root) => Deno.realPath(root)))", "roots"],
    ],
  },
  {
    file: "lib/serve/intake/kept_uploads.ts",
    tests: ["tests/serve/intake/kept_uploads_test.ts"],
    changes: [
      ["kept && kept.owner === name", "kept"],
      ["upload.bytes > keptBytes", "false"],
      ["void this.#uploads.remove(upload)", "void upload"],
    ],
  },
  {
    file: "lib/serve/tiles/cutter.ts",
    tests: [
      "tests/serve/tiles/cutter_test.ts",
      "tests/routes/images_test.ts",
    ],
    changes: [
      ["if (blocks <= maxBlocks) return;", "return;"],
      ["if (known.includes(etag)) return { etag };", ""],
      ["JSON.stringify([identity, what])", "JSON.stringify([what])"],
      ["JSON.stringify([identity, what])", "JSON.stringify([identity])"],
      ["this.#waiting.shift()?.();", ""],
    ],
  },
  {
    file: "lib/serve/models.ts",
    tests: ["tests/serve/models_test.ts"],
    changes: [
      ["version !== undefined && version !== model.version", "false"],
      ["if (!isUsed) await", "await"],
      ["this.#loaded.get(name) === info.sha256", "this.#loaded.has(name)"],
      ["this.#models.size > 1 && name === this.defaultName", "false"],
      ["else this.#known.delete(entry);", ""],
      ["refused?.stamp === stamp", "refused"],
      [
        "!this.isLoaded(model) && !this.#unloaded.has(model.name)",
        "!this.isLoaded(model)",
      ],
      ["await stampOf(entry, known.file) === known.stamp", "true"],
      ["const isUsed = this.#held.has(sha256) ||\n     ", "const isUsed ="],
    ],
  },
];
