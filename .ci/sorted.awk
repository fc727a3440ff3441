# Sorts the N numbers values[KEY, 1…N] into list[1…N]; the rest are local.
function sorted(key, n, i, j, swap) {
    for (i = 1; i <= n; i++) list[i] = values[key, i]
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
}
