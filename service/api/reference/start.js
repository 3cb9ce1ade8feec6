// Shows the OpenAPI document of this service. Keys are not kept: persistAuthorization is off.
SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  tagsSorter: "none",
  validatorUrl: null,
});
