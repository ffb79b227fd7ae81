/** A Worker of a run that ends by an error outside its work. */
const scope = self as unknown as {
  onmessage: (event: MessageEvent<{ id: number; method: string }>) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data: { id, method } }) => {
  if (method === "start") scope.postMessage({ type: "value", id });
  else {setTimeout(() => {
      throw new Error("out of luck");
    });}
};
