/**
 * glibc's allocator, which keeps what is freed between what is not.
 *
 * @module
 */

/**
 * Its `malloc_trim`, which gives all free pages of the process back to the
 * system; on other systems, or if `--allow-ffi` is refused or narrowed to folders,
 * it does nothing.
 */
export function allocatorTrim(): () => void {
  try {
    const { symbols } = Deno.dlopen("libc.so.6", {
      malloc_trim: { parameters: ["usize"], result: "i32" },
    });
    return () => void symbols.malloc_trim(0n);
  } catch {
    return () => {};
  }
}
