package cluster_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
)

func client(t *testing.T, c *cluster.Cluster) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestStart(t *testing.T) {
	t0 := time.Now()
	c := clustertest.Start(t)
	t.Log(time.Since(t0))
	list, err := client(t, c).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		t.Log(n.Name)
	}
	for _, p := range c.Parts() {
		t.Logf("%+v", p)
	}
}
