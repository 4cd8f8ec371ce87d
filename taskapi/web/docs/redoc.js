// Shows openapi.json, which is beside the page, with ReDoc, in fonts that every machine has.
Redoc.init(
  "openapi.json",
  {
    hideDownloadButton: false,
    requiredPropsFirst: false,
    sortPropsAlphabetically: false,
    expandResponses: "200,201",
    jsonSampleExpandLevel: 3,
    pathInMiddlePanel: true,
    nativeScrollbars: true,
    theme: {
      colors: { primary: { main: "#1b5e4a" } },
      typography: {
        fontFamily: "system-ui, sans-serif",
        headings: { fontFamily: "system-ui, sans-serif", fontWeight: "600" },
        code: { fontFamily: "ui-monospace, Menlo, Consolas, monospace" },
      },
      sidebar: { backgroundColor: "#f4f7f6" },
      rightPanel: { backgroundColor: "#1f2a27" },
    },
  },
  document.getElementById("reference"),
);
