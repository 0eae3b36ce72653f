// Package helm takes the chart and a real cluster and gives whether Helm's own program makes of
// them a control plane that holds: rendered, installed, upgraded and taken away again.
package helm
