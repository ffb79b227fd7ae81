/** Whether a server stays live while it is kept busy. */

/** Number of times that `/livez` answered before `work` settled. */
export async function livezDuring(
  url: string,
  work: Promise<unknown>,
): Promise<number> {
  let isDone = false, answers = 0;
  const done = work.finally(() => isDone = true);
  while (!isDone) {
    const response = await fetch(`${url}/livez`);
    await response.body?.cancel();
    if (!isDone && response.ok) answers++;
  }
  await done;
  return answers;
}
