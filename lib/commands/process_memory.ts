/**
 * The memory of this process.
 *
 * @module
 */
import process from "node:process";

/** Largest resident memory of this process so far, bytes. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024; // Linux counts in KiB
}

/** Bytes as people read them. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}
