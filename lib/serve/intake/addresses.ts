/**
 * Public and private IP addresses. A server that fetches URLs for others must
 * not be a way into its own network.
 *
 * Source: IANA IPv4 and IPv6 Special-Purpose Address Registries.
 *
 * @module
 */
import { BlockList, isIP } from "node:net";

const NOT_PUBLIC_V4: readonly [string, number][] = [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // carrier-grade NAT
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, cloud metadata
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 3], // multicast, reserved, broadcast
];

// All but global unicast, and the parts of it that are not public.
const PUBLIC_V6: readonly [string, number] = ["2000::", 3];
const NOT_PUBLIC_V6: readonly [string, number][] = [
  ["2001::", 23], // protocol assignments, Teredo
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4: holds any IPv4 address
  ["3fff::", 20], // documentation
];

const blockedV4 = new BlockList();
for (const [net, bits] of NOT_PUBLIC_V4) blockedV4.addSubnet(net, bits, "ipv4");
const globalV6 = new BlockList();
globalV6.addSubnet(...PUBLIC_V6, "ipv6");
const blockedV6 = new BlockList();
for (const [net, bits] of NOT_PUBLIC_V6) blockedV6.addSubnet(net, bits, "ipv6");

/** True if `address` (an IP address as text) is on the public internet. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !blockedV4.check(address, "ipv4");
    case 6:
      return globalV6.check(address, "ipv6") &&
        !blockedV6.check(address, "ipv6");
    default:
      return false;
  }
}

/**
 * True if there is an address and all are public, because a name may have
 * several.
 */
export function arePublicAddresses(addresses: readonly string[]): boolean {
  return addresses.length > 0 && addresses.every(isPublicAddress);
}

/**
 * True if `hostname` is a link-local address, such as a cloud's metadata
 * service.
 */
export function isLinkLocal(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, "").toLowerCase();
  return address.startsWith("169.254.") || /^fe[89ab].:/.test(address) ||
    address.startsWith("::ffff:a9fe:"); // 169.254.0.0/16 mapped
}

/**
 * True if a server bound to `hostname` can be reached from this machine only.
 */
export function isLoopback(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, "").toLowerCase();
  return address === "localhost" || address === "::1" ||
    (isIP(address) === 4 && address.startsWith("127."));
}
