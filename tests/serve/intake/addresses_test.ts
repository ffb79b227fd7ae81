import assert from "node:assert/strict";
import {
  arePublicAddresses,
  isLinkLocal,
  isLoopback,
  isPublicAddress,
} from "../../../lib/serve/intake/addresses.ts";

Deno.test("only addresses of the public internet are public", () => {
  const inside = [
    ...[
      "0.0.0.0",
      "10.1.2.3",
      "100.64.0.1",
      "100.127.255.255",
      "127.0.0.1",
      "127.255.255.255",
    ],
    ...["169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1"],
    ...["192.168.0.1", "198.18.0.1", "203.0.113.9", "224.0.0.1"],
    ...["255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8"],
    ...["64:ff9b::7f00:1", "fc00::1", "fd00::1", "fe80::1", "ff02::1"],
    ...["2001::1", "2001:db8::1", "2002:7f00:1::", "example.org", ""],
  ];
  for (const address of inside) {
    assert.equal(isPublicAddress(address), false, address);
  }
  const outside = [
    ...["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1"],
    ...["192.167.0.1", "223.255.255.255", "2606:4700::1111", "2a00::1"],
  ];
  for (const address of outside) {
    assert.equal(isPublicAddress(address), true, address);
  }
});

Deno.test("a name is as public as the least public of its addresses", () => {
  assert.equal(arePublicAddresses(["8.8.8.8", "2606:4700::1111"]), true);
  for (
    const addresses of [
      ["8.8.8.8", "127.0.0.1"],
      ["10.0.0.1", "8.8.8.8"],
      ["8.8.8.8", "fe80::1"],
      [],
    ]
  ) assert.equal(arePublicAddresses(addresses), false, `${addresses}`);
});

Deno.test("loopback is told by name and by address", () => {
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"]) {
    assert.equal(isLoopback(host), true, host);
  }
  for (const host of ["0.0.0.0", "::", "example.org", "127.example.org"]) {
    assert.equal(isLoopback(host), false, host);
  }
});

Deno.test("link-local addresses are told, mapped ones too", () => {
  const linkLocal = [
    ...["169.254.169.254", "[::ffff:a9fe:a9fe]"],
    ...["[fe80::1]", "[fe90::1]", "[fea0::1]", "[febf::1]"], // fe80::/10
  ];
  for (const host of linkLocal) {
    assert.equal(isLinkLocal(host), true, host);
  }
  for (
    const host of ["169.253.0.1", "[::1]", "[fec0::1]", "feed.example.org"]
  ) {
    assert.equal(isLinkLocal(host), false, host);
  }
});
