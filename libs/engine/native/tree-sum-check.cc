// Prints a line for each way to add up products that this processor has, with the elements whose bits
// differ from those of adding them up one by one: libs/engine/src/tree-sum.test.ts.
#include "tree-sum.h"

#include <cstdio>
#include <random>

using tree_sum::Product;
using Way = void (*)(const Product&, std::vector<float>&);

size_t differences(Way way, size_t shards, size_t depth, size_t rows, size_t columns) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<std::vector<float>> factors;
  for (size_t i = 0; i < 2 * shards; i++) {
    factors.emplace_back(depth * (i % 2 == 0 ? rows : columns));
    for (float& value : factors.back()) value = uniform(random);
  }
  std::vector<float> expected(rows * columns), got(rows * columns), room;
  Product product{{}, depth, rows, columns, expected.data()};
  for (size_t i = 0; i < shards; i++) product.shards.push_back({factors[2 * i].data(), factors[2 * i + 1].data()});
  tree_sum::elementByElement(product, room);
  product.out = got.data();
  way(product, room);
  size_t count = 0;
  for (size_t i = 0; i < got.size(); i++) count += memcmp(&got[i], &expected[i], sizeof(float)) != 0;
  return count;
}

void check(const char* name, Way way) {
  size_t count = 0;
  for (size_t shards : {1, 2, 8})
    for (size_t depth : {1, 8, 32})
      for (size_t rows : {1, 13, 48})
        for (size_t columns : {1, 10, 32, 77}) count += differences(way, shards, depth, rows, columns);
  printf("%s: %zu differ\n", name, count);
}

int main() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) check("avx512", tree_sum::avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check("avx2", tree_sum::avx2);
#elif defined(__aarch64__)
  check("neon", tree_sum::neon);
#endif
  check("element by element", tree_sum::elementByElement);
}
