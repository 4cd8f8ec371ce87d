// Runs each fetch sample of the document as it stands, but for the server's address. Prints a line of JSON for each.
const [server, address] = process.argv.slice(2);
const AsyncFunction = (async () => {}).constructor;
const document = await (await fetch(`${address}/api/openapi.json`)).json();
for (const [path, methods] of Object.entries(document.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    for (const { lang, source } of operation["x-codeSamples"] ?? []) {
      if (lang !== "JavaScript") continue;
      const run = new AsyncFunction(`${source.replaceAll(server, address)}\nreturn [response.status, success, error];`);
      console.log(JSON.stringify([`${method} ${path}`, ...(await run())]));
    }
  }
}
