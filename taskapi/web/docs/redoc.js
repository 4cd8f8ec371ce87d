// Shows openapi.json, which is beside this page, with ReDoc, in fonts that every machine has.
const SAMPLES = "http://localhost:8000";

async function show() {
  const answer = await fetch("openapi.json");
  // The samples then call the service that this page comes from.
  const here = new URL("..", location.href).href.replace(/\/$/, "");
  const description = JSON.parse((await answer.text()).replaceAll(SAMPLES, here));
  Redoc.init(
    description,
    {
      downloadFileName: "openapi.json",
      requiredPropsFirst: false,
      sortPropsAlphabetically: false,
      // The descriptions say it in words.
      hideSchemaPattern: true,
      expandResponses: "200,201",
      jsonSampleExpandLevel: 3,
      payloadSampleIdx: 2,
      pathInMiddlePanel: true,
      nativeScrollbars: true,
      theme: {
        spacing: { unit: 5, sectionHorizontal: innerWidth < 800 ? 16 : 40, sectionVertical: 24 },
        colors: { primary: { main: "#1b5e4a" } },
        typography: {
          fontFamily: "system-ui, sans-serif",
          headings: { fontFamily: "system-ui, sans-serif", fontWeight: "600" },
          code: { fontSize: "12px", fontFamily: "ui-monospace, Menlo, Consolas, monospace", color: "#1b5e4a" },
        },
        sidebar: { backgroundColor: "#f4f7f6" },
        rightPanel: { backgroundColor: "#1f2a27" },
        fab: { color: "#1b5e4a" },
      },
    },
    document.getElementById("reference"),
  );
}

show().catch((error) => {
  document.getElementById("reference").textContent = `The reference cannot be shown: ${error.message}`;
});
