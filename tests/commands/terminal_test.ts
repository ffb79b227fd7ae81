/**
 * What a terminal gets beyond a file: bold headings, unless NO_COLOR is set.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { drawAndTrain, folderOfFile, ROOT, taskFlags } from "./process.ts";

const folder = folderOfFile(drawAndTrain);

// Gives its arguments a terminal of 40 columns, and copies what it shows.
const TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
while True:
    try:
        shown = os.read(fd, 65536)
    except OSError:
        break
    if not shown:
        break
    os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

const python = await new Deno.Command("python3", { args: ["--version"] })
  .output().then(({ success }) => success, () => false);

async function shown(env: Record<string, string>): Promise<string> {
  const { success, stdout } = await new Deno.Command("python3", {
    args: [
      ...["-c", TERMINAL, Deno.execPath(), ...taskFlags("eval")],
      ...[join(ROOT, "main.ts"), "eval", "--checkpoint", "run"],
      ...["--data", "set/manifest.csv", "--backend", "wasm"],
    ],
    cwd: folder,
    env: { TERM: "xterm", ...env },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.ok(success, text);
  return text;
}

Deno.test({
  name: "a terminal has bold headings and a status line",
  ignore: !python,
  fn: async () => {
    const text = await shown({ NO_COLOR: "" });
    assert.match(text.replaceAll("\x1b", "ESC"), /ESC\[1mmetric .*ESC\[22m/);
    assert.match(text, /1\/8 images {2}[\d.]+ images\/s/);
    const plain = await shown({ NO_COLOR: "1" });
    assert.ok(!plain.includes("\x1b[1m"));
    assert.match(plain, /^metric /m);
  },
});
