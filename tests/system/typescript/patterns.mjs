// Prints the code points that the patterns of a title and of a description refuse, in JavaScript's engine, as JSON.
const { components } = await (await fetch(`${process.argv[2]}/api/openapi.json`)).json();
const refused = {};
for (const [name, { pattern }] of Object.entries(components.schemas.TaskCreate.properties)) {
  // Generators of clients make expressions of both kinds.
  for (const flags of ["", "u"]) {
    const expression = new RegExp(pattern, flags);
    const codes = (refused[`${name} ${flags}`] = []);
    for (let code = 0; code < 0x110000; code++) {
      const surrogate = code >= 0xd800 && code < 0xe000;
      if (!surrogate && !expression.test(String.fromCodePoint(code))) codes.push(code);
    }
  }
}
console.log(JSON.stringify(refused));
