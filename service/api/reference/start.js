// Shows the OpenAPI document of this service. Keys are not kept: persistAuthorization is off.

// Swagger UI renders only the visible part of a list of 150 rows or more. A reader could then not search the page, and
// a printed page would be empty. This component renders all tags and operations, as Swagger UI does for shorter lists.
function allOperations({ React }) {
  const element = React.createElement;

  function Operations(props) {
    const { getComponent, specSelectors } = props;
    const OperationTag = getComponent("OperationTag");
    const OperationContainer = getComponent("OperationContainer", true);
    const tags = specSelectors.taggedOperations().entrySeq().toArray();
    return element("div", null, tags.map(([tag, tagObj]) => element(
      OperationTag,
      { ...props, key: tag, tag, tagObj, specUrl: specSelectors.url() },
      element("div", { className: "operation-tag-content" }, tagObj.get("operations").toArray().map((op) => {
        const [path, method] = [op.get("path"), op.get("method")];
        return element(OperationContainer, {
          key: `${method} ${path}`, specPath: op.get("specPath"), op, path, method, tag,
        });
      })),
    )));
  }

  return { components: { operations: Operations } };
}

// The filter of Swagger UI knows the names of tags only. This one finds operations by words of their path, summary,
// description and parameters. All words must occur.
function filterByWords({ React }) {
  const element = React.createElement;

  function FilterContainer({ layoutSelectors, layoutActions }) {
    const filter = layoutSelectors.currentFilter();
    return element("div", { className: "wrapper" }, element("input", {
      className: "operation-filter-input",
      type: "search",
      "aria-label": "Filter operations",
      placeholder: "Filter by words, such as: cash refund due",
      value: typeof filter === "string" && filter !== "true" ? filter : "",
      onChange: (event) => layoutActions.updateFilter(event.target.value),
    }));
  }

  function opsFilter(taggedOperations, phrase) {
    const words = String(phrase).toLowerCase().split(/\s+/).filter((word) => word !== "");
    function isFound(one) {
      const text = `${one.get("path")} ${JSON.stringify(one.get("operation"))}`.toLowerCase();
      return words.every((word) => text.includes(word));
    }
    return taggedOperations
      .map((tagged) => tagged.set("operations", tagged.get("operations").filter(isFound)))
      .filter((tagged) => tagged.get("operations").size > 0);
  }

  return { components: { FilterContainer }, fn: { opsFilter } };
}

SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  plugins: [allOperations, filterByWords],
  validatorUrl: null,
});
