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

SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  plugins: [allOperations],
  validatorUrl: null,
});
