/**
 * Shared libraries whose functions run in threads. Deno unloads what a Worker has
 * loaded when that is ended, and a thread that is still in it ends the process.
 *
 * @module
 */

/** Loaders of the system, that count who uses a library: by library, and name. */
const LOADERS: Record<string, [library: string, loader: string][]> = {
  darwin: [["libSystem.B.dylib", "dlopen"]],
  windows: [["kernel32.dll", "LoadLibraryA"]],
};
const UNIX_LOADERS: [string, string][] = [
  ["libc.so.6", "dlopen"],
  [`libc.musl-${Deno.build.arch}.so.1`, "dlopen"],
  ["libdl.so.2", "dlopen"], // of glibc before 2.34
];
const RTLD_NOW = 2;

/**
 * Loads a library that stays loaded until the process ends.
 *
 * @throws {Error} If it is not there, or may not be loaded.
 */
export function loadNative<Symbols extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: Symbols,
): Deno.DynamicLibrary<Symbols>["symbols"] {
  const library = Deno.dlopen(path, symbols);
  keepLoaded(path);
  return library.symbols;
}

function keepLoaded(path: string): void {
  const name = new TextEncoder().encode(`${path}\0`);
  for (const [library, loader] of LOADERS[Deno.build.os] ?? UNIX_LOADERS) {
    try {
      const system = Deno.dlopen(library, {
        load: {
          name: loader,
          parameters: ["buffer", "i32"],
          result: "pointer",
        },
      });
      system.symbols.load(name, RTLD_NOW); // LoadLibraryA takes the name alone
      system.close();
      return;
    } catch {
      continue; // another C library
    }
  }
}
